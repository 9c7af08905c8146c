"""
Training runs through the KFP API, one execution each whatever becomes of requests and answers.

KFP repeats nothing safely by itself: a second request for one run id is refused, and executes all the same. So a run
is looked for first, sent once under a mark in the state, and when the answer is lost looked for again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from trimtab.adapters import crash
from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kfp_gone import Gone
from trimtab.adapters.kfp_posting import Postings
from trimtab.adapters.kfp_request import run_body
from trimtab.adapters.kfp_rest import Doubtful, Json, KfpService
from trimtab.adapters.kfp_run import ENDED, status_of
from trimtab.adapters.kfp_spec import CompiledPipeline, read_package
from trimtab.adapters.kfp_workflows import Workflows
from trimtab.adapters.kubernetes.api import Api
from trimtab.core.errors import Invalid, NotFound, Unavailable
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus
from trimtab.core.spec.model import ContinuousModel

SETTLE_SECONDS = 3.0  # after a lost answer: a run is made in about 0.04 s, so most are seen at once
LOOK_SECONDS = 0.25
# Far beyond what a request may take in a server that lives, so that a mark this old keeps nobody from a second try.
PATIENCE = timedelta(seconds=30)
STOP_SECONDS = 30.0  # Argo ends a Workflow's pods within their grace period
MOST_REMEMBERED = 2_000  # ended runs


@dataclass
class Kfp:
    """
    A KFP installation, and what every run there is given.

    Attributes:
        namespace: Of all runs, where KFP has one user; else each model's runs stand in its own.
        package: The compiled pipeline; put into each request.
        version: Name of a PipelineVersion that stands in KFP, used in place of the package.
        image: What the steps run in, unless the model names its own.
        secret, service_account, environment: Of the steps, in the run's namespace.
        api: Where Workflows are looked for; None where this process does not reach KFP's cluster.
    """

    service: KfpService
    postings: Postings
    namespace: str = "kubeflow"
    package: Path | None = None
    version: str = ""
    image: str = ""
    secret: str = ""
    service_account: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    api: Api | None = None
    settle_seconds: float = SETTLE_SECONDS
    experiments: dict[tuple[str, str], str] = field(default_factory=dict)
    ended: OrderedDict[str, RunStatus] = field(default_factory=OrderedDict)

    def launcher(self, namespace: str, model: ContinuousModel) -> KfpLauncher:
        """Of one model's runs; `namespace` is that of its ContinuousModel."""
        training = model.spec.training
        return KfpLauncher(self, namespace, model.name, training.image or self.image, training.resources)

    def place(self, namespace: str) -> str:
        """The namespace that the runs of a model are executed in."""
        return namespace if self.service.multi_user() else self.namespace

    @cached_property
    def gone(self) -> Gone:
        return Gone(self.postings.buckets)

    @cached_property
    def pipeline(self) -> CompiledPipeline:
        if self.package is None:
            raise Invalid(
                "found neither a pipeline package nor the name of a PipelineVersion",
                "set TRIMTAB_PIPELINE_PACKAGE to the file that `trimtab compile` wrote",
            )
        return read_package(self.package)


def connect(settings: ClusterSettings, buckets: Buckets, api: Api | None) -> Kfp:
    """
    KFP as a process in a cluster finds it; nothing is asked of it yet.

    Raises:
        Invalid: If TRIMTAB_KFP_URL is missing.
    """
    if not settings.kfp_url:
        raise Invalid(
            "found no TRIMTAB_KFP_URL in the environment: nobody is there to execute runs",
            "set it to KFP's API server, e.g. http://ml-pipeline.kubeflow:8888",
        )
    environment = {"TRIMTAB_TRUSTED_TYPES": ",".join(settings.trusted_types)} if settings.trusted_types else {}
    return Kfp(
        service=KfpService(settings.kfp_url, settings.kfp_token_file),
        postings=Postings(buckets, lambda: datetime.now(UTC), PATIENCE),
        namespace=settings.kfp_namespace,
        package=Path(settings.pipeline_package) if settings.pipeline_package else None,
        version=settings.kfp_pipeline_version,
        image=settings.pipeline_image,
        secret=settings.s3_secret,
        service_account=settings.model_service_account,
        environment=environment,
        api=api,
    )


@dataclass
class KfpLauncher:
    """`RunLauncher` of one model's runs over the KFP API."""

    kfp: Kfp
    namespace: str
    model: str
    image: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)

    def look_up(self, run_id: str) -> RunStatus | None:
        """
        The run as KFP has it, else as its Workflow stands; None where neither is there.

        The first end stands: a stray Workflow of the same id may report another one later. A run whose Workflow was
        deleted has failed, though KFP never says so.
        """
        if (known := self.kfp.ended.get(run_id)) is not None:
            return known
        run = self.kfp.service.run(run_id)
        status = self._status(run) if run is not None else self._workflow_status(run_id)
        if status is not None and status.phase in ENDED:
            self.kfp.ended[run_id] = status
            while len(self.kfp.ended) > MOST_REMEMBERED:
                self.kfp.ended.popitem(last=False)
        return status

    def launch(self, request: RunRequest) -> RunStatus:
        """
        Start the run, or adopt the one that this run id has already.

        Raises:
            Unavailable: If KFP does not answer, or does not say yet whether it started the run: call again.
            Invalid: If KFP would never start it as it is.
        """
        if (found := self.look_up(request.run_id)) is not None:
            return found
        body = run_body(self.kfp, self.namespace, self.model, self.image, self.resources, request)
        posting = self.kfp.postings.take(request)
        # Whoever held the mark before may have sent it after this process looked.
        if (found := self.look_up(request.run_id)) is not None:
            return found
        crash.point("before-post")
        try:
            status = status_of(self.kfp.service.create_run(body))
        except Doubtful as doubt:
            return self._settle(request.run_id, doubt)
        except NotFound as gone:
            posting.refused()
            self.kfp.experiments.clear()  # somebody deleted the experiment: the next try makes it again
            raise Unavailable(f"{gone.message}; it is made again") from gone
        except (Invalid, Unavailable):
            posting.refused()
            raise
        crash.point("after-post")
        return status

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        """The last lines that the steps' pods printed, for as long as those are kept."""
        workflows = self._workflows()
        return workflows.logs(run_id, lines) if workflows is not None else []

    def stop(self, run_id: str) -> None:
        """End the run; returns when it has ended, or after `STOP_SECONDS`."""
        found = self.look_up(run_id)
        if found is None or found.phase in ENDED:
            return
        terminated, workflows = self.kfp.service.terminate(run_id), self._workflows()
        if not terminated and workflows is not None:
            workflows.end(run_id)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            found = self.look_up(run_id)
            if found is None or found.phase in ENDED:
                return
            time.sleep(LOOK_SECONDS)

    # What became of it

    def _settle(self, run_id: str, doubt: Doubtful) -> RunStatus:
        """The run once it shows; the mark keeps everybody from sending it again meanwhile."""
        deadline = time.monotonic() + self.kfp.settle_seconds
        while True:
            try:
                found = self.look_up(run_id)
            except Unavailable:
                found = None
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"KFP has not said whether it started run {run_id}: {doubt.message}", doubt.hint
                ) from doubt
            time.sleep(LOOK_SECONDS)

    def _status(self, run: Json) -> RunStatus:
        status, workflows = status_of(run), self._workflows()
        if status.phase not in ENDED and workflows is not None and self.kfp.gone.is_gone(run, workflows):
            return RunStatus(status.run_id, RunPhase.FAILED, "its Workflow is gone: somebody deleted it")
        return status

    def _workflow_status(self, run_id: str) -> RunStatus | None:
        workflows = self._workflows()
        return workflows.status(run_id) if workflows is not None else None

    def _workflows(self) -> Workflows | None:
        if self.kfp.api is None:
            return None
        return Workflows(self.kfp.api, self.kfp.place(self.namespace))
