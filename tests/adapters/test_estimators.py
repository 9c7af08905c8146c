"""The estimator of a spec: resolved from two places only, checked, seeded, and told plainly when it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters import estimators, user_code
from trimtab.core.errors import Invalid
from trimtab.core.spec.model import ContinuousModel, Training
from trimtab.core.spec.parse import load

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: small}}
spec:
  data:
    source: s3://small/
    format: csv
    timestamp: ts
    target: 'y'
    schema: {{x: {{type: float}}, 'y': {{type: {target}}}}}
  training: {{estimator: "{estimator}", parameters: {parameters}}}
  evaluation: {{primary: {primary}}}
"""
PIPELINE = """\
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.pipeline import make_pipeline

def build(depth, leaves=8):
    inner = SelectFromModel(RandomForestClassifier(n_jobs=-1))
    return make_pipeline(inner, RandomForestClassifier(n_jobs=-1, max_depth=depth, max_leaf_nodes=leaves))
"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Users' modules of one test are not those of the next."""
    yield
    for name in [name for name, module in sys.modules.items() if hasattr(module, user_code.MARK)]:
        user_code._forget(name)


def training(estimator: str, **settings: object) -> Training:
    return Training(estimator=estimator, **settings)  # type: ignore[arg-type]


def spec(estimator: str, parameters: str = "{}", target: str = "boolean", primary: str = "roc_auc") -> ContinuousModel:
    return load(SPEC.format(estimator=estimator, parameters=parameters, target=target, primary=primary))


def test_a_class_of_scikit_learn_gets_its_parameters_and_the_seed() -> None:
    path = "sklearn.ensemble:HistGradientBoostingRegressor"
    built = estimators.build(training(path, parameters={"max_iter": 7}, seed=42), "")
    assert (type(built).__name__, built.max_iter, built.random_state) == ("HistGradientBoostingRegressor", 7, 42)


def test_an_estimator_without_random_state_is_built_all_the_same() -> None:
    assert estimators.build(training("sklearn.neighbors:KNeighborsRegressor"), "").n_neighbors == 5


def test_seed_and_threads_reach_every_step_of_a_users_pipeline(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PIPELINE)
    built = estimators.build(training("mine:build", parameters={"depth": 3}, seed=5, threads=2), str(tmp_path))
    parameters = built.get_params(deep=True)
    seeds = {name: value for name, value in parameters.items() if name.endswith("random_state")}
    threads = {name: value for name, value in parameters.items() if name.endswith("n_jobs")}
    assert len(seeds) == 2
    assert set(seeds.values()) == {5}
    assert len(threads) == 2
    assert set(threads.values()) == {2}


def test_parameters_beyond_the_functions_own_reach_into_what_it_returns(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PIPELINE)
    parameters = {"depth": 3, "randomforestclassifier__max_leaf_nodes": 5}
    built = estimators.build(training("mine:build", parameters=parameters), str(tmp_path))
    assert built[-1].max_depth == 3
    assert built[-1].max_leaf_nodes == 5


def test_each_call_builds_a_new_estimator() -> None:
    recipe = training("sklearn.linear_model:Ridge")
    assert estimators.build(recipe, "") is not estimators.build(recipe, "")


REFUSED = {
    "no such module": ("sklearn.ensembel:Ridge", {}, "has no module sklearn.ensembel", "did you mean sklearn.ensemble"),
    "no such class": ("sklearn.linear_model:Rigde", {}, "has no estimator Rigde", "did you mean Ridge"),
    "not an estimator": ("sklearn.datasets:load_iris", {}, "has no estimator load_iris", "sklearn.linear_model:Ridge"),
    "what sklearn imports": ("sklearn.utils:Path", {}, "has no estimator Path", ""),
    "a step that cannot predict": ("sklearn.preprocessing:StandardScaler", {}, "which has no predict", "Classifier"),
    "a misspelt parameter": (
        "sklearn.linear_model:Ridge",
        {"aplha": 1},
        "spec.training.parameters.aplha: sklearn.linear_model:Ridge has no such parameter; it has alpha,",
        "did you mean alpha?",
    ),
    "a missing argument": ("sklearn.pipeline:Pipeline", {}, "needs steps", "a function beside the spec"),
    "a module of the system": ("os:system", {}, "found no module os", "put os.py beside the spec"),
    "a module that is installed": ("pandas.core:DataFrame", {}, "found no module pandas.core", "beside the spec"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_told_with_the_next_move(case: str, tmp_path: Path) -> None:
    path, parameters, found, hint = REFUSED[case]
    with pytest.raises(Invalid) as refused:
        estimators.build(training(path, parameters=parameters), str(tmp_path))
    assert found in refused.value.message
    assert hint in refused.value.hint


BROKEN = {
    "a name that is not defined": ("import os\n\nx = nothing\n", "mine.py line 3: NameError: name 'nothing'"),
    "bad syntax": ("def build(:\n", "mine.py line 1: SyntaxError: "),
    "an exit": ("import sys\nsys.exit(3)\n", "mine.py line 2: SystemExit: 3"),
    "a missing import": ("import nowhere_to_be_found\n", "mine.py line 1: ModuleNotFoundError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_users_module_that_fails_is_told_by_file_and_line(case: str, tmp_path: Path) -> None:
    source, found = BROKEN[case]
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(Invalid) as refused:
        estimators.build(training("mine:build"), str(tmp_path))
    assert found in refused.value.message
    assert "Traceback" not in str(refused.value)
    assert "mine" not in sys.modules


def test_a_function_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def build(depth):\n    raise ValueError('too deep')\n")
    with pytest.raises(Invalid, match=r"mine:build\(depth\) failed: ValueError: too deep"):
        estimators.build(training("mine:build", parameters={"depth": 9}), str(tmp_path))


@pytest.mark.parametrize("returned", ["None", "3", "object()", "type('E', (), {})"])
def test_a_function_that_returns_no_estimator_is_refused(returned: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"def build():\n    return {returned}\n")
    with pytest.raises(Invalid, match="which has no fit"):
        estimators.build(training("mine:build"), str(tmp_path))


def test_a_class_that_hides_its_parameters_is_refused(tmp_path: Path) -> None:
    source = """\
from sklearn.base import BaseEstimator, RegressorMixin
class Mine(RegressorMixin, BaseEstimator):
    def __init__(self, depth=1): self.deep = depth
    def fit(self, X, y): return self
    def predict(self, X): return X
"""
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(Invalid, match="does not tell its parameters"):
        estimators.build(training("mine:Mine"), str(tmp_path))


@pytest.mark.parametrize("name", ["random", "numpy", "trimtab"])
def test_a_users_module_cannot_take_the_name_of_an_installed_one(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("def build(): pass\n")
    before = sys.modules.get(name)
    with pytest.raises(Invalid, match=f"has the name of a module that is installed, {name}"):
        estimators.build(training(f"{name}:build"), str(tmp_path))
    assert sys.modules.get(name) is before


def test_a_users_module_cannot_lie_outside_the_specs_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(PIPELINE)
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "mine.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(Invalid, match="leads out of the spec's folder"):
        estimators.build(training("mine:build"), str(folder))
    with pytest.raises(Invalid, match="found no module elsewhere"):
        estimators.build(training("elsewhere:build"), str(folder))


def test_the_specs_folder_is_never_put_on_the_path_of_imports(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PIPELINE)
    (tmp_path / "json.py").write_text("raise RuntimeError('shadowed')\n")
    before = list(sys.path)
    estimators.build(training("mine:build", parameters={"depth": 2}), str(tmp_path))
    assert sys.path == before


def test_a_package_may_hold_several_files(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "steps.py").write_text("from sklearn.linear_model import Ridge\n")
    (package / "model.py").write_text("from .steps import Ridge\ndef build(): return Ridge(alpha=3)\n")
    assert estimators.build(training("mine.model:build"), str(tmp_path)).alpha == 3


def test_a_changed_module_is_imported_again(tmp_path: Path) -> None:
    recipe = training("mine:build")
    source = "from sklearn.linear_model import Ridge\ndef build(): return Ridge(alpha={})\n"
    (tmp_path / "mine.py").write_text(source.format(1))
    first, code = estimators.build(recipe, str(tmp_path)), estimators.code_digest(recipe, str(tmp_path))
    (tmp_path / "mine.py").write_text(source.format(2))
    assert (first.alpha, estimators.build(recipe, str(tmp_path)).alpha) == (1, 2)
    assert estimators.code_digest(recipe, str(tmp_path)) != code


def test_two_folders_may_hold_modules_of_one_name(tmp_path: Path) -> None:
    for alpha in (1, 2):
        folder = tmp_path / str(alpha)
        folder.mkdir()
        source = f"from sklearn.linear_model import Ridge\ndef build(): return Ridge(alpha={alpha})\n"
        (folder / "mine.py").write_text(source)
    built = [estimators.build(training("mine:build"), str(tmp_path / folder)).alpha for folder in ("1", "2", "1")]
    assert built == [1, 2, 1]


def test_the_code_digest_covers_every_file_of_a_package_and_runs_none(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "model.py").write_text("depth = 1\n")
    recipe = training("mine.model:build")
    before = estimators.code_digest(recipe, str(tmp_path))
    (tmp_path / "other.py").write_text("unrelated\n")
    assert estimators.code_digest(recipe, str(tmp_path)) == before
    (package / "model.py").write_text("depth = 2\n")
    assert estimators.code_digest(recipe, str(tmp_path)) != before


def test_scikit_learns_own_code_has_no_digest() -> None:
    assert estimators.code_digest(training("sklearn.linear_model:Ridge"), "") == ""


def test_an_estimator_that_fits_its_spec_passes() -> None:
    assert type(estimators.check(spec("sklearn.linear_model:LogisticRegression"), "")).__name__ == "LogisticRegression"


UNFIT = {
    "a regressor for classes": (
        spec("sklearn.ensemble:HistGradientBoostingRegressor"),
        "is not a classifier, and the target y has type boolean",
        "did you mean sklearn.ensemble:HistGradientBoostingClassifier?",
    ),
    "a classifier for numbers": (
        spec("sklearn.linear_model:LogisticRegression", target="float", primary="r2"),
        "is not a regressor, and the target y has type float",
        "name a regressor",
    ),
    "no probabilities": (
        spec("sklearn.linear_model:RidgeClassifier", primary="log_loss"),
        "log_loss needs predict_proba, and sklearn.linear_model:RidgeClassifier has none",
        "accuracy or f1",
    ),
    "a parameter out of range": (
        spec("sklearn.ensemble:HistGradientBoostingClassifier", parameters="{max_iter: -3}"),
        "The 'max_iter' parameter of HistGradientBoostingClassifier must be an int in the range [1, inf). Got -3",
        "mend it in spec.training.parameters",
    ),
    "a parameter of a wrong type": (
        spec("sklearn.linear_model:LogisticRegression", parameters="{C: much}"),
        "The 'C' parameter of LogisticRegression must be a float",
        "mend it",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_estimator_that_does_not_fit_its_spec_is_refused(case: str) -> None:
    model, found, hint = UNFIT[case]
    with pytest.raises(Invalid) as refused:
        estimators.check(model, "")
    assert found in refused.value.message
    assert hint in refused.value.hint


def test_decision_values_are_enough_to_rank() -> None:
    estimators.check(spec("sklearn.linear_model:RidgeClassifier", primary="roc_auc"), "")
