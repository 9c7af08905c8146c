"""A registered version as it serves: found in the state, its artifact verified, read by the spec it was trained by."""

from __future__ import annotations

from trimtab.adapters import user_code
from trimtab.adapters.seldon.settings import Settings
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid
from trimtab.core.spec import load as load_spec
from trimtab.serving.loader import load
from trimtab.serving.served import Served


def open_state(settings: Settings) -> State:
    """The model's state; nothing is asked of the store yet."""
    from trimtab.adapters import s3

    return State.open(s3.connect(), settings.state, settings.model)


def load_served(state: State, settings: Settings) -> Served:
    """
    The version that the settings name.

    Raises:
        NotFound: If there is no such version, artifact or spec.
        Invalid: If the artifact's SHA-256 is not the registry's, it holds types that are not trusted, or it cannot be
            built here.
        Unavailable: If the store does not answer.
    """
    version = state.registry.version(settings.version)
    data = load_spec(state.data.spec(version.spec), f"the spec of {settings.model}/v{settings.version}").spec.data
    path = state.registry.artifact(version.artifact)
    module = version.estimator.partition(":")[0]
    if module.partition(".")[0] != "sklearn":
        user_code.load_module(module, settings.spec_folder)
    pipeline = load(path, version.artifact, settings.trusted_types)
    if "encode" not in getattr(pipeline, "named_steps", {}):
        raise Invalid(
            f"the artifact of {settings.model}/v{settings.version} is no pipeline that begins with the encoder",
            "train again (trimtab run)",
        )
    return Served(settings.model, version.number, data, pipeline)
