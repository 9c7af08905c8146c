"""A registered model in a notebook: it takes the frame one has and answers in the target's own values."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trimtab.adapters.models import Champion, import_user_module
from trimtab.core.errors import Invalid, NotFound
from trimtab.core.records import ModelVersion
from trimtab.serving.loader import load

ARTIFACT, VERSION = "artifact.skops", "version.json"  # as `trimtab get` names them


class LoadedModel:
    """
    A model version, verified and loaded.

    Attributes:
        name: `NAME/vN`, or the folder it was read from.
        version: What the registry holds of it: metrics, evaluation, lineage.
    """

    def __init__(self, name: str, loaded: Champion) -> None:
        self.name = name
        self.version: ModelVersion = loaded.version
        self.pipeline = loaded.pipeline

    def __repr__(self) -> str:
        return f"<trimtab model {self.name}: {self.version.estimator}>"

    @property
    def features(self) -> list[str]:
        """The columns it needs, in the order of their names; others may stand in the frame too."""
        return [name for name, _, _ in self.pipeline.named_steps["encode"].columns]

    @property
    def classes(self) -> list[Any]:
        """The classes it knows, in the order of `predict_proba`'s columns; empty for a regression."""
        known = getattr(self.pipeline, "classes_", None)
        return [] if known is None else list(known.tolist())

    def predict(self, frame: Any) -> Any:
        """
        A NumPy array with one value a row: a number, or the class.

        Args:
            frame: A data frame of pandas or polars, or arrays by column name.

        Raises:
            Invalid: If a column is missing or holds values of another type.
        """
        return self.pipeline.predict(frame)

    def predict_proba(self, frame: Any) -> Any:
        """
        Probabilities by row and class, the classes in the order of `classes`.

        Raises:
            Invalid: If the estimator gives none, or as `predict`.
        """
        if not hasattr(self.pipeline, "predict_proba"):
            raise Invalid(f"{self.version.estimator} gives no probabilities", "call predict, or train one that does")
        return self.pipeline.predict_proba(frame)


def read_folder(folder: Path, trusted_types: Iterable[str] = (), spec_folder: str = "") -> LoadedModel:
    """
    A downloaded version.

    Raises:
        NotFound: If the folder does not hold one.
        Invalid: If the artifact has another digest than version.json says, or holds types that are not trusted.
    """
    lacking = [name for name in (ARTIFACT, VERSION) if not (folder / name).is_file()]
    if lacking:
        raise NotFound(
            f"found no {' and no '.join(lacking)} in {folder}", "name the folder that `trimtab get NAME -o` wrote"
        )
    version = ModelVersion.from_json((folder / VERSION).read_bytes(), str(folder / VERSION))
    import_user_module(version.estimator, spec_folder)
    pipeline = load(folder / ARTIFACT, version.artifact, trusted_types)
    return LoadedModel(str(folder), Champion(version, pipeline))
