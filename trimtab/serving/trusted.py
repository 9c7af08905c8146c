"""
Types that an artifact may hold beyond those that skops trusts by itself (public estimators, NumPy, ufuncs).

The list is the platform's, never the file's. Found by fitting every estimator of scikit-learn 1.9.1 and asking skops.
Trees and distance trees hold raw indices that are not checked when they are used, so they are trusted only because
the artifact's SHA-256 is checked against the registry first.
"""

from __future__ import annotations

_INTERNALS = {
    "sklearn._loss.loss": ("HalfTweedieLoss", "HalfTweedieLossIdentity"),
    "sklearn.calibration": ("_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"),
    "sklearn.cluster._bisect_k_means": ("_BisectingTree",),
    "sklearn.cluster._kmeans": ("_kmeans_single_lloyd", "_kmeans_single_elkan"),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.feature_selection._univariate_selection": ("f_classif", "f_regression", "chi2", "r_regression"),
    "sklearn.feature_selection._mutual_info": ("mutual_info_classif", "mutual_info_regression"),
    "sklearn.gaussian_process._gpc": ("_BinaryGaussianProcessClassifierLaplace",),
    "sklearn.gaussian_process.kernels": (
        "CompoundKernel",
        "ConstantKernel",
        "DotProduct",
        "Exponentiation",
        "ExpSineSquared",
        "Hyperparameter",
        "Matern",
        "PairwiseKernel",
        "Product",
        "RBF",
        "RationalQuadratic",
        "Sum",
        "WhiteKernel",
    ),
    "sklearn.metrics._classification": ("accuracy_score", "balanced_accuracy_score", "f1_score", "log_loss"),
    "sklearn.metrics._dist_metrics": (
        "ChebyshevDistance64",
        "EuclideanDistance64",
        "ManhattanDistance64",
        "MinkowskiDistance64",
    ),
    "sklearn.metrics._scorer": ("_CurveScorer", "_PassthroughScorer", "_Scorer"),
    "sklearn.multiclass": ("_ConstantPredictor",),
    "sklearn.neighbors._ball_tree": ("BallTree",),
    "sklearn.neighbors._kd_tree": ("KDTree",),
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.tree._tree": ("Tree",),
    "sklearn.utils._bunch": ("Bunch",),
    "sklearn.utils._metadata_requests": ("MetadataRequest", "MethodMetadataRequest"),
    "sklearn.utils.validation": ("check_array",),
    "functools": ("partial",),  # harmless by itself: the function it holds is on its own judged
    "numpy": ("dtype", "mean", "median"),
    "scipy._lib.array_api_compat.numpy._aliases": ("asarray",),
    "scipy.interpolate._bsplines": ("BSpline",),
    "scipy.sparse._csc": ("csc_array", "csc_matrix"),
    "scipy.sparse._csr": ("csr_array", "csr_matrix"),
    "trimtab.serving.encoder": ("Encoder",),
}

PLATFORM_TYPES = frozenset(f"{module}.{name}" for module, names in _INTERNALS.items() for name in names)
