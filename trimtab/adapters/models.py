"""Registered models, loaded: verified, and read by the schema they were made for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trimtab.adapters import columns as tables
from trimtab.core.errors import Invalid
from trimtab.core.records import ModelVersion
from trimtab.core.scoring import Prediction
from trimtab.serving.loader import foreign_types, load
from trimtab.serving.predict import predict

if TYPE_CHECKING:
    import polars as pl

    from trimtab.adapters.state import State
    from trimtab.core.spec.model import Data


@dataclass(frozen=True)
class Champion:
    """The version that serves, with its fitted pipeline; without one where it cannot be loaded, and `problem` why."""

    version: ModelVersion
    pipeline: Any
    problem: str = ""

    def predict(self, rows: pl.DataFrame, data: Data) -> Prediction:
        """
        What it says of the rows, read by the schema it was trained with.

        Raises:
            Invalid: If it could not be loaded, the rows lack a column it needs, or its classes are not the spec's.
        """
        if self.pipeline is None:
            raise Invalid(self.problem)
        return predict_rows(self.pipeline, rows, data)


def load_champion(state: State, trusted_types: Iterable[str] = (), spec_folder: str = "") -> Champion | None:
    """The champion that the registry names now, or None. Raises as `load_version`."""
    version = _standing(state)
    return None if version is None else load_version(state, version, trusted_types, spec_folder)


def load_standing_rival(state: State, trusted_types: Iterable[str] = (), spec_folder: str = "") -> Champion | None:
    """The champion that the registry names now, as `load_rival` gives it, or None."""
    version = _standing(state)
    return None if version is None else load_rival(state, version, trusted_types, spec_folder)


def _standing(state: State) -> ModelVersion | None:
    manifest = state.registry.manifest()
    return None if manifest is None or manifest.champion is None else state.registry.version(manifest.champion)


def load_rival(
    state: State, version: ModelVersion, trusted_types: Iterable[str] = (), spec_folder: str = ""
) -> Champion:
    """
    A version for a candidate to be judged beside: one whose artifact cannot be loaded any more predicts nothing.

    A damaged champion serves nobody, so it must not keep the next model from taking its place.
    """
    try:
        return load_version(state, version, trusted_types, spec_folder)
    except Invalid as error:
        return Champion(version, None, error.message)


def load_version(
    state: State, version: ModelVersion, trusted_types: Iterable[str] = (), spec_folder: str = ""
) -> Champion:
    """
    A registered version, loaded.

    Raises:
        NotFound: If its artifact is not in the store.
        Invalid: If the artifact is damaged, or holds types that are not trusted.
    """
    return Champion(version, load_artifact(state, version.artifact, version.estimator, trusted_types, spec_folder))


def load_artifact(
    state: State, digest: str, estimator: str, trusted_types: Iterable[str] = (), spec_folder: str = ""
) -> Any:
    """The fitted pipeline with this digest; the user's own module, if `estimator` names one, is imported first."""
    import_user_module(estimator, spec_folder)
    return load(state.registry.artifact(digest), digest, trusted_types)


def store_artifact(state: State, pipeline: Any, trusted_types: Iterable[str] = ()) -> str:
    """
    Keep a fitted pipeline; returns the digest it can be loaded by.

    Raises:
        Invalid: If it cannot be stored without pickle, or holds a type that would be refused when it is loaded.
    """
    from trimtab.serving import artifact

    body = artifact.dumps(pipeline)
    foreign = foreign_types(body, trusted_types)
    if foreign:
        raise Invalid(
            f"the fitted estimator holds types that are not trusted: {', '.join(foreign)}",
            f"if they are yours and you trust them, set TRIMTAB_TRUSTED_TYPES={','.join(foreign)}",
        )
    with TemporaryDirectory(prefix="trimtab-") as folder:
        path = Path(folder) / "artifact.skops"
        path.write_bytes(body)
        return state.registry.put_artifact(path)


def reference_of(pipeline: Any, learned: pl.DataFrame, data: Data) -> dict[str, Any]:
    """The profile of what a model learned and of what it says of it: what later batches are compared with."""
    from trimtab.core.profile import profile

    return profile(learned, data, predictions=predict_rows(pipeline, learned, data).values).to_dict()


def import_user_module(estimator: str, spec_folder: str) -> None:
    """An artifact's types are found by name: the module that stands beside the spec has to be known by its own."""
    module = estimator.partition(":")[0]
    if module.partition(".")[0] != "sklearn":
        from trimtab.adapters import user_code

        user_code.load_module(module, spec_folder)


def predict_rows(pipeline: Any, rows: pl.DataFrame, data: Data) -> Prediction:
    """What a fitted pipeline says of rows of a dataset. Raises Invalid as `serving.predict`."""
    own = pipeline.named_steps["encode"].columns
    return predict(pipeline, tables.to_columns(rows, own), tables.classes(data))
