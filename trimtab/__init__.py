"""
Continuous training for Kubeflow: retrain on evidence, release on evidence.

    import trimtab
    trimtab.load_model("flights@champion").predict(frame)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab.adapters.loaded import LoadedModel

__all__ = ["load_folder", "load_model"]


def load_model(name: str) -> LoadedModel:
    """
    A registered model, its bytes verified against the registry, ready to predict.

    Where it is found: the environment (`TRIMTAB_STATE_BUCKET`, `AWS_*`), else the nearest `.trimtab/env`.

    Args:
        name: `NAME@champion`, `NAME@challenger` or `NAME/vN`; `NAME` alone means its champion.

    Raises:
        NotFound: If there is no such model, version or alias.
        Invalid: If the name has another form, or the artifact is damaged or holds types that are not trusted.
        Unavailable: If the store does not answer.
    """
    # Steps and processes import this package too, and need none of what loading a model needs.
    from trimtab.adapters.loaded import LoadedModel
    from trimtab.adapters.models import load_version
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference

    reference = parse_reference(name)
    platform = Platform.find()
    state = platform.state(reference.name)
    version = state.registry.resolve(reference)
    found = platform.environment
    return LoadedModel(
        f"{state.model}/v{version.number}", load_version(state, version, found.trusted_types, found.spec_folder)
    )


def load_folder(folder: str) -> LoadedModel:
    """
    A model that `trimtab get` downloaded, its bytes verified against the digest beside them; no store is asked.

    Args:
        folder: Holds artifact.skops and version.json.

    Raises:
        NotFound: If it does not.
        Invalid: If the artifact is damaged or holds types that are not trusted (TRIMTAB_TRUSTED_TYPES); a user's own
            module is looked for in TRIMTAB_SPEC_FOLDER, else in the working directory.
    """
    from pathlib import Path

    from trimtab.adapters import environment
    from trimtab.adapters.loaded import read_folder

    return read_folder(Path(folder), environment.trusted_types(), environment.spec_folder())
