"""The process environment: the one place where it is read, by processes and by pipeline steps alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from trimtab.core import sources
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


@dataclass(frozen=True)
class ClusterSettings:
    """
    What a process in a cluster is told from outside; each field is the variable `TRIMTAB_` and its name in capitals.

    Those of `Environment` that a process needs besides (the state's bucket, the token, trusted types) stand here too.
    """

    state_bucket: str
    watch_namespaces: tuple[str, ...] = ()  # empty: all
    kfp_url: str = ""
    kfp_namespace: str = "kubeflow"
    kfp_token_file: Path | None = None
    prometheus_url: str = ""
    pipeline_image: str = ""
    pipeline_package: str = ""  # path of the compiled pipeline in this image
    kfp_pipeline_version: str = ""  # name of a PipelineVersion in KFP, used in place of the package
    serving_image: str = ""
    max_concurrent_runs: int = 4  # of one namespace
    s3_secret: str = "trimtab-s3"  # noqa: S105  (the name of a Secret, in each model's own namespace)
    model_service_account: str = "trimtab-model"  # of runs and serving pods
    token: str = ""
    bind: str = "127.0.0.1:8080"
    trusted_types: tuple[str, ...] = ()
    sources: tuple[sources.Allowed, ...] = ()  # what models may read, by namespace; empty: all but the state
    sns_topics: tuple[str, ...] = ()  # ARNs: their messages are taken without the token
    sqs_queue_url: str = ""  # a queue that is read for events, too
    pod_name: str = ""  # POD_NAME
    pod_namespace: str = ""  # POD_NAMESPACE


def cluster_settings(environ: Mapping[str, str] | None = None) -> ClusterSettings:
    """
    The settings of a process in a cluster.

    Raises:
        Invalid: If TRIMTAB_STATE_BUCKET is missing, TRIMTAB_MAX_CONCURRENT_RUNS is no number above 0, or
            TRIMTAB_SOURCES is not of its form.

    >>> cluster_settings({"TRIMTAB_STATE_BUCKET": "state", "TRIMTAB_WATCH_NAMESPACES": "shop, web"}).watch_namespaces
    ('shop', 'web')
    """
    env = os.environ if environ is None else environ
    bucket = env.get("TRIMTAB_STATE_BUCKET", "")
    if not bucket:
        raise Invalid(
            "found no TRIMTAB_STATE_BUCKET in the environment of this process",
            "set it in the ConfigMap that the manifests' deployments read; docs/kubernetes.md lists the variables",
        )
    runs = env.get("TRIMTAB_MAX_CONCURRENT_RUNS", "").strip() or str(ClusterSettings.max_concurrent_runs)
    if not runs.isdecimal() or int(runs) < 1:
        raise Invalid(f"found TRIMTAB_MAX_CONCURRENT_RUNS={runs}; it is a whole number from 1", "leave it out for 4")
    token_file = env.get("TRIMTAB_KFP_TOKEN_FILE", "")
    return ClusterSettings(
        state_bucket=bucket,
        watch_namespaces=_names(env.get("TRIMTAB_WATCH_NAMESPACES", "")),
        kfp_url=env.get("TRIMTAB_KFP_URL", ""),
        kfp_namespace=env.get("TRIMTAB_KFP_NAMESPACE") or ClusterSettings.kfp_namespace,
        kfp_token_file=Path(token_file) if token_file else None,
        prometheus_url=env.get("TRIMTAB_PROMETHEUS_URL", ""),
        pipeline_image=env.get("TRIMTAB_PIPELINE_IMAGE", ""),
        pipeline_package=env.get("TRIMTAB_PIPELINE_PACKAGE", ""),
        kfp_pipeline_version=env.get("TRIMTAB_KFP_PIPELINE_VERSION", ""),
        serving_image=env.get("TRIMTAB_SERVING_IMAGE", ""),
        max_concurrent_runs=int(runs),
        s3_secret=env.get("TRIMTAB_S3_SECRET") or ClusterSettings.s3_secret,
        model_service_account=env.get("TRIMTAB_MODEL_SERVICE_ACCOUNT") or ClusterSettings.model_service_account,
        token=env.get("TRIMTAB_TOKEN", ""),
        bind=env.get("TRIMTAB_BIND") or ClusterSettings.bind,
        trusted_types=trusted_types(env),
        sources=sources.parse(env.get(sources.VARIABLE, "")),
        sns_topics=_names(env.get("TRIMTAB_SNS_TOPICS", "")),
        sqs_queue_url=env.get("TRIMTAB_SQS_QUEUE_URL", ""),
        pod_name=env.get("POD_NAME", ""),
        pod_namespace=env.get("POD_NAMESPACE", ""),
    )


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def pipeline(environ: Mapping[str, str] | None = None) -> str:
    """The training pipeline as `module:attribute`; needs no state bucket."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_PIPELINE") or Environment.pipeline


def pipeline_image(environ: Mapping[str, str] | None = None) -> str:
    """What the steps run in unless a run names another image: settled when the pipeline is compiled."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_IMAGE") or f"trimtab/pipeline:{version('trimtab')}"


def backtest(environ: Mapping[str, str] | None = None) -> str:
    """What replays files, as `module:attribute`; needs no state bucket."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_BACKTEST") or Environment.backtest


def trusted_types(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The operator's list TRIMTAB_TRUSTED_TYPES: comma-separated import paths."""
    env = os.environ if environ is None else environ
    return _names(env.get("TRIMTAB_TRUSTED_TYPES", ""))


def replays(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the policy clock is the stream's own: TRIMTAB_POLICY_CLOCK is `stream`."""
    env = os.environ if environ is None else environ
    return env.get("TRIMTAB_POLICY_CLOCK") == "stream"


def keep_rows(environ: Mapping[str, str] | None = None) -> int:
    """
    How many logged rows of a model a process remembers: TRIMTAB_KEEP_ROWS; 0 where that is not set.

    Raises:
        Invalid: If it is no whole number from 1.
    """
    env = os.environ if environ is None else environ
    given = env.get("TRIMTAB_KEEP_ROWS", "").strip()
    if given and (not given.isdecimal() or int(given) < 1):
        raise Invalid(f"found TRIMTAB_KEEP_ROWS={given}; it is a whole number from 1", "leave it out for a million")
    return int(given or 0)


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
