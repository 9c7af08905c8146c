"""The estimator that a spec names: resolved from scikit-learn or the user's own module, checked, seeded."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from trimtab.adapters import user_code
from trimtab.core.errors import Invalid
from trimtab.core.metrics import METRICS, Task
from trimtab.core.spec.model import ContinuousModel, Training

WHERE = "spec.training.estimator"


def code_digest(training: Training, spec_folder: str) -> str:
    """
    SHA-256 of the user's own estimator module, or "" for scikit-learn's: its version stands for it.

    Raises:
        Invalid: If the module is not beside the spec.
    """
    module = training.estimator.partition(":")[0]
    return "" if _is_sklearn(module) else user_code.source_digest(module, spec_folder)


def build(training: Training, spec_folder: str) -> Any:
    """
    A new estimator, not fitted: with the spec's parameters, every random_state the seed, every n_jobs the threads.

    Args:
        training: The spec's section.
        spec_folder: Where the user's own modules lie; empty for the working directory.

    Raises:
        Invalid: If it cannot be imported, is no estimator, or does not take a parameter.
    """
    factory = _resolve(training, spec_folder)
    estimator = _call(factory, training)
    for name in ("fit", "predict", "get_params", "set_params"):
        if not callable(getattr(estimator, name, None)) or inspect.isclass(estimator):
            raise Invalid(
                f"{WHERE}: {training.estimator} gives {_kind(estimator)}, which has no {name}",
                "name a class that derives from sklearn.base.BaseEstimator with ClassifierMixin or RegressorMixin, "
                "or a function that returns such an estimator or a Pipeline",
            )
    try:
        estimator.get_params(deep=True)
    except Exception as error:
        raise Invalid(
            f"{WHERE}: {training.estimator} does not tell its parameters: {type(error).__name__}: {error}",
            "name every parameter in __init__ and keep it under the same name, as scikit-learn's estimators do",
        ) from None
    reach = {name: value for name, value in training.parameters.items() if name not in _arguments(factory)}
    _set(estimator, reach, _arguments(factory), training.estimator)
    _set_everywhere(estimator, "random_state", training.seed)
    _set_everywhere(estimator, "n_jobs", training.threads, unless_none=training.threads == 1)
    return estimator


def check(model: ContinuousModel, spec_folder: str) -> Any:
    """
    The estimator of a spec, after checking that it fits the spec's task, metrics and parameters.

    Raises:
        Invalid: As `build`, and if it is of the wrong kind or cannot give what a metric needs.
    """
    training, task = model.spec.training, model.spec.data.task
    estimator = build(training, spec_folder)
    _validate(estimator, training.estimator)
    _check_task(estimator, task, model)
    for name in model.spec.evaluation.reported:
        metric = METRICS[name]
        ways = ("predict_proba",) if metric.probability else ("predict_proba", "decision_function")
        if metric.needs == "score" and not any(hasattr(estimator, way) for way in ways):
            raise Invalid(
                f"spec.evaluation.metrics: {name} needs {' or '.join(ways)}, and {training.estimator} has none",
                "take a metric of labels, such as accuracy or f1, or an estimator (or parameter) with probabilities",
            )
    return estimator


def _is_sklearn(module: str) -> bool:
    return module.partition(".")[0] == "sklearn"


def _resolve(training: Training, spec_folder: str) -> Callable[..., Any]:
    """The class or function that the import path names."""
    module_name, _, attribute = training.estimator.partition(":")
    if _is_sklearn(module_name):
        module = _import_sklearn(module_name)
    else:
        module = user_code.load_module(module_name, spec_folder)
    # What a module itself defines or exports; of scikit-learn only estimators, not its loaders of data sets.
    offered = {
        name: value
        for name, value in vars(module).items()
        if (_is_estimator(value) if _is_sklearn(module_name) else callable(value)) and not name.startswith("_")
    }
    if attribute not in offered:
        raise Invalid(f"{WHERE}: {module_name} has no estimator {attribute}", _close(attribute, offered))
    factory: Callable[..., Any] = offered[attribute]
    return factory


def _is_estimator(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "get_params")


def _import_sklearn(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        import sklearn

        modules = [f"sklearn.{found.name}" for found in pkgutil.iter_modules(sklearn.__path__) if found.name[0] != "_"]
        raise Invalid(
            f"{WHERE}: scikit-learn {sklearn.__version__} has no module {name}", _close(name, modules)
        ) from None


def _arguments(factory: Callable[..., Any]) -> set[str]:
    """Names the class or function takes itself; parameters beyond them reach into what it returns."""
    taken = inspect.signature(factory).parameters.values()
    return {item.name for item in taken if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}


def _call(factory: Callable[..., Any], training: Training) -> Any:
    """Make the estimator with those parameters that the class or function takes itself."""
    arguments = _arguments(factory)
    given = {name: value for name, value in training.parameters.items() if name in arguments}
    required = [
        item.name
        for item in inspect.signature(factory).parameters.values()
        if item.default is item.empty and item.name in arguments and item.name not in given
    ]
    if required:
        raise Invalid(
            f"{WHERE}: {training.estimator} needs {', '.join(required)}",
            "add it to spec.training.parameters; what is not a plain value needs a function beside the spec that "
            "returns the estimator, such as `estimator: model:build`",
        )
    try:
        return factory(**given)
    except (Exception, SystemExit) as error:
        raise Invalid(
            f"{WHERE}: {training.estimator}({', '.join(given)}) failed: {type(error).__name__}: {error}",
            "call it the same way in Python to see more",
        ) from None


def _set(estimator: Any, parameters: dict[str, Any], arguments: set[str], name: str) -> None:
    """Set those parameters that reach into the estimator; `arguments` its maker has taken already."""
    known = dict.fromkeys(sorted(arguments)) | estimator.get_params(deep=True)
    for parameter, value in parameters.items():
        if parameter not in known:
            plain = [key for key in known if "__" not in key] if "__" not in parameter else list(known)
            raise Invalid(
                f"spec.training.parameters.{parameter}: {name} has no such parameter; it has {', '.join(plain[:40])}",
                _close(parameter, plain),
            )
        estimator.set_params(**{parameter: value})


def _set_everywhere(estimator: Any, name: str, value: int, unless_none: bool = False) -> None:
    """
    Set a parameter wherever it stands in the estimator, its steps and what those hold.

    With `unless_none` a None stays: it means one thread already, and some estimators warn of anything else.
    """
    found = estimator.get_params(deep=True).items()
    keys = [key for key, now in found if key.rpartition("__")[2] == name and not (unless_none and now is None)]
    estimator.set_params(**dict.fromkeys(keys, value))


def _validate(estimator: Any, name: str) -> None:
    """Let scikit-learn's estimators judge the values of their parameters now, not in the middle of a run."""
    from sklearn.utils._param_validation import InvalidParameterError

    parts = [estimator, *(value for value in estimator.get_params(deep=True).values() if hasattr(value, "get_params"))]
    for part in parts:
        if not type(part).__module__.startswith("sklearn.") or inspect.isclass(part):
            continue
        try:
            part._validate_params()
        except InvalidParameterError as error:
            hint = f"mend it in spec.training.parameters; {type(part).__name__}'s own page says what each may be"
            raise Invalid(f"spec.training.parameters of {name}: {error}", hint) from None


def _check_task(estimator: Any, task: Task, model: ContinuousModel) -> None:
    from sklearn.base import is_classifier, is_regressor

    is_right = is_classifier if task == "classification" else is_regressor
    if not hasattr(estimator, "__sklearn_tags__") or not is_right(estimator):
        data = model.spec.data
        kind = "a classifier" if task == "classification" else "a regressor"
        raise Invalid(
            f"{WHERE}: {model.spec.training.estimator} is not {kind}, and the target {data.target} has type "
            f"{data.described[data.target].type}, which needs one",
            _counterpart(model.spec.training.estimator, task),
        )


def _counterpart(path: str, task: Task) -> str:
    """The name that the other kind of the same estimator has in scikit-learn."""
    kinds = ("Regressor", "Classifier") if task == "classification" else ("Classifier", "Regressor")
    if kinds[0] in path:
        return f"did you mean {path.replace(*kinds)}?"
    return f"name a {kinds[1].lower()}, or change the type of the target"


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"a {type(value).__name__}"


def _close(word: str, known: Iterable[str]) -> str:
    names = list(dict.fromkeys(known))
    close = get_close_matches(word, names, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"it has {', '.join(sorted(names)[:12])}" if names else "name one such as sklearn.linear_model:Ridge"
