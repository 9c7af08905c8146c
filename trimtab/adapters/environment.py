"""The process environment: the one place where it is read, by processes and by pipeline steps alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.core.errors import Invalid


@dataclass(frozen=True)
class Environment:
    """
    What a trimtab process is told from outside.

    Credentials and the endpoint (`AWS_*`) are read by boto3 itself, from the same variables as every S3 client.
    """

    state_bucket: str
    namespace: str = "default"
    url: str = ""  # the listener's address, for clients
    token: str = ""  # the listener's bearer token
    pipeline: str = "trimtab.pipelines.continuous_training:continuous_training"
    backtest: str = "trimtab.pipelines.backtest:backtest"
    trusted_types: tuple[str, ...] = ()  # types outside scikit-learn and numpy that artifacts may hold
    spec_folder: str = ""  # where users' own estimator modules are imported from
    policy_clock: str = "wall"  # wall | stream
    gateway_url: str = ""  # where predictions are asked for; empty where nothing serves
    gateway_token: str = ""  # the gateway's own bearer token

    @property
    def state(self) -> str:
        """The state's address as the pipeline takes it: `s3://BUCKET/NAMESPACE`."""
        return f"s3://{self.state_bucket}/{self.namespace}"


def read(environ: Mapping[str, str] | None = None) -> Environment:
    """
    The settings that stand in the environment.

    Raises:
        Invalid: If TRIMTAB_STATE_BUCKET is missing: nothing works without the state.
    """
    env = os.environ if environ is None else environ
    bucket = env.get("TRIMTAB_STATE_BUCKET", "")
    if not bucket:
        raise Invalid(
            "found no TRIMTAB_STATE_BUCKET in the environment and no .trimtab/env in this folder or above it",
            "run `trimtab up -f model.yaml` here, or set the variables that docs/operations.md lists",
        )
    return Environment(
        state_bucket=bucket,
        namespace=env.get("TRIMTAB_NAMESPACE", "default"),
        url=env.get("TRIMTAB_URL", ""),
        token=env.get("TRIMTAB_TOKEN", ""),
        pipeline=pipeline(env),
        backtest=backtest(env),
        trusted_types=trusted_types(env),
        spec_folder=spec_folder(env),
        policy_clock=env.get("TRIMTAB_POLICY_CLOCK", "wall"),
        gateway_url=env.get("TRIMTAB_GATEWAY_URL", ""),
        gateway_token=env.get("TRIMTAB_GATEWAY_TOKEN", ""),
    )


def pipeline(environ: Mapping[str, str] | None = None) -> str:
    """The training pipeline as `module:attribute`; needs no state bucket."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_PIPELINE") or Environment.pipeline


def backtest(environ: Mapping[str, str] | None = None) -> str:
    """What replays files, as `module:attribute`; needs no state bucket."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_BACKTEST") or Environment.backtest


def trusted_types(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The operator's list TRIMTAB_TRUSTED_TYPES: comma-separated import paths."""
    env = os.environ if environ is None else environ
    return tuple(name.strip() for name in env.get("TRIMTAB_TRUSTED_TYPES", "").split(",") if name.strip())


def replays(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the policy clock is the stream's own: TRIMTAB_POLICY_CLOCK is `stream`."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_POLICY_CLOCK") == "stream"


def spec_folder(environ: Mapping[str, str] | None = None) -> str:
    """Where users' own estimator modules lie: TRIMTAB_SPEC_FOLDER, empty for the working directory."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_SPEC_FOLDER", "")


def alert_address(variable: str, environ: Mapping[str, str] | None = None) -> str:
    """The address in the variable that `spec.alerts` names; empty where it is not set. It holds a token."""
    env = os.environ if environ is None else environ
    return env.get(variable, "").strip()


def serving_python(environ: Mapping[str, str] | None = None) -> Path | None:
    """
    The interpreter of the serving environment: TRIMTAB_SERVING_PYTHON, else `.venv-serving` beside the library's
    source tree, as `make` makes it; None where there is none.
    """
    env = os.environ if environ is None else environ
    named = env.get("TRIMTAB_SERVING_PYTHON", "")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / ".venv-serving" / "bin" / "python"
    return path if path.is_file() else None


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """
    Where copies of what never changes are kept, for every process of this user: TRIMTAB_CACHE, else the XDG folder.

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache"}).as_posix()
    '/var/cache/trimtab'
    """
    env = os.environ if environ is None else environ
    if "TRIMTAB_CACHE" in env:
        return Path(env["TRIMTAB_CACHE"])
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimtab"


def crash_points(environ: Mapping[str, str] | None = None) -> tuple[frozenset[str], Path | None]:
    """
    For tests of recovery: where this process kills itself, and the folder of the marks that let each do it only once.

    >>> crash_points({})
    (frozenset(), None)
    """
    env = os.environ if environ is None else environ
    names = frozenset(name.strip() for name in env.get("TRIMTAB_CRASH_AT", "").split(",") if name.strip())
    marks = env.get("TRIMTAB_CRASH_MARKS", "")
    return (names, Path(marks)) if names and marks else (frozenset(), None)
