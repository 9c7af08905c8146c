"""From an upload to a registered challenger, each step in a pod of its own; whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kfp_driver import WORKFLOW
from kfp_run import RUN_LABEL
from site_under_test import MODELS, NAME, ROOT, SYSTEM, Site

from trimtab.adapters.kubernetes.kinds import JOB, MODEL, POD, ROLLOUT, SELDON_DEPLOYMENT
from trimtab.adapters.s3 import S3Buckets
from trimtab.adapters.state import State

Body = dict[str, Any]
SPEC = f"""
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: {NAME}, namespace: {MODELS}}}
spec:
  data:
    source: s3://{NAME}/landing/
    format: csv
    timestamp: ts
    key: [ts]
    target: cnt
    exclude: [casual, registered, season, holiday, weekday, atemp]
    schema:
      hour:       {{type: int, min: 0, max: 23, nullable: false}}
      workingday: {{type: category, values: ["Yes", "No"], nullable: false}}
      weathersit: {{type: category, values: [Clear, Mist, Light Rain, Heavy Rain], onNew: missing}}
      temp:       {{type: float, min: -30, max: 50, nullable: false}}
      hum:        {{type: float, min: 0, max: 100, nullable: false}}
      windspeed:  {{type: float, min: 0, max: 150, nullable: false}}
      cnt:        {{type: int, min: 0, max: 5000}}
  triggers:
    upload: {{minNewRows: 600, settle: 0s}}
  window: {{strategy: fixed, size: 26w, minRows: 1000}}
  training:
    estimator: sklearn.ensemble:HistGradientBoostingRegressor
    parameters: {{max_iter: 40}}
    threads: 1
    resources: {{requests: {{cpu: 100m, memory: 256Mi}}, limits: {{memory: 1Gi}}}}
  evaluation:
    holdout: 2w
    primary: mean_absolute_error
    block: 1d
  rollout:
    strategy: canary
    steps:
    - {{setWeight: 10, minRequests: 50}}
"""
FEW = "few"  # another model, which lacks rows
TO_REGISTER = ["detect-drift", "evaluate", "ingest", "register", "select-window", "train", "validate"]


class Runs:
    """The model, what is uploaded for it, what its runs did, and the process that executes them."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.store = site.store()
        self._buckets = S3Buckets(self.store)
        self._buckets.make(NAME)
        self._folder = folder
        self.state = self.state_of(NAME)
        self._rows = (ROOT / "examples/bikeshare/data/2011.csv").read_text().splitlines()
        self._token = folder / "token"
        self._token.write_text(site.token("kubeflow", "driver", "pipelines.kubeflow.org"))
        self._kfp = f"http://{site.address('kubeflow', 'ml-pipeline')}:8888"
        self._log = (folder / "driver.log").open("a")
        self._driver: subprocess.Popen[bytes] | None = None

    def state_of(self, model: str) -> State:
        return State.open(self._buckets, f"s3://trimtab/{MODELS}", model, self._folder / model)

    # What people and machines do

    def upload(self, name: str, first: int, last: int, prefix: str = "landing") -> None:
        self.put(name, "\n".join([self._rows[0], *self._rows[1 + first : 1 + last]]), prefix)

    def put(self, name: str, text: str, prefix: str = "landing") -> None:
        self.store.put_object(Bucket=NAME, Key=f"{prefix}/{name}", Body=text.encode())

    def start_driver(self) -> None:
        program = Path(__file__).parent / "kfp_driver.py"
        command = [sys.executable, "-u", str(program), "--kfp", self._kfp, "--token-file", str(self._token)]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "KUBECONFIG": str(self.site.kubeconfig), "PYTHONPATH": paths}
        self._driver = subprocess.Popen(command, env=env, stdout=self._log, stderr=subprocess.STDOUT)

    def kill_driver(self) -> None:
        if self._driver is not None:
            self._driver.kill()
            self._driver.wait()

    # What there is

    def workflows(self) -> dict[str, Body]:
        """By run id; oldest first."""
        found, _ = self.site.api.list(WORKFLOW, MODELS)
        found.sort(key=lambda each: each["metadata"]["creationTimestamp"])
        runs = {each["metadata"]["labels"][RUN_LABEL]: each for each in found}
        assert len(runs) == len(found), "two Workflows of one run"
        return runs

    def listed(self) -> dict[str, str]:
        """Runs as KFP has them: id and state."""
        headers = {"authorization": f"Bearer {self._token.read_text()}"}
        url = f"{self._kfp}/apis/v2beta1/runs"
        answer = httpx.get(url, params={"namespace": MODELS}, headers=headers).raise_for_status().json()
        return {run["run_id"]: run.get("state", "") for run in answer.get("runs", [])}

    def jobs(self, run: str) -> dict[str, Body]:
        """By task."""
        found, _ = self.site.api.list(JOB, MODELS, labels=f"{RUN_LABEL}={run}")
        return {json.loads(each["metadata"]["annotations"]["trimtab.test/task"])[-1]: each for each in found}

    def phases(self, run: str) -> dict[str, str]:
        """How each task that was executed ended: in one pod, never restarted, of the account and image it should."""
        found, _ = self.site.api.list(POD, MODELS, labels=f"{RUN_LABEL}={run}")
        pods = {pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]: pod for pod in found}
        jobs = self.jobs(run)
        assert len(found) == len(pods) == len(jobs)
        for pod in found:
            assert pod["spec"]["serviceAccountName"] == "trimtab-model"
            (container,) = pod["status"]["containerStatuses"]
            assert container["restartCount"] == 0
            assert container["image"].endswith("trimtab/pipeline:test")
        return {task: pods[job["metadata"]["name"]]["status"]["phase"] for task, job in jobs.items()}

    def outcomes(self) -> list[str]:
        """Of all decisions, as far as they have one."""
        return [each.state for _, each in sorted(self.state.decisions.outcomes().items())]

    def status(self) -> Body:
        return dict(self.site.model().get("status", {}))

    def predictors(self) -> dict[str, Body]:
        found = self.site.api.find(SELDON_DEPLOYMENT, MODELS, NAME) or {"spec": {"predictors": []}}
        return {each["name"]: each for each in found["spec"]["predictors"]}

    def available(self) -> bool:
        found = self.site.api.find(SELDON_DEPLOYMENT, MODELS, NAME) or {}
        return bool(found.get("status", {}).get("state") == "Available")

    def aliases(self) -> tuple[int | None, int | None]:
        """Versions: champion and challenger."""
        manifest = self.state.registry.manifest()
        return (manifest.champion, manifest.challenger) if manifest else (None, None)


@pytest.fixture(scope="module")
def runs(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    found = Runs(site, tmp_path_factory.mktemp("runs"))
    found.start_driver()
    try:
        site.kubectl("apply", "-f", "-", stdin=SPEC)
        site.until(lambda: site.condition("Accepted") == "True", "the model is accepted")
        yield found
    finally:
        found.kill_driver()
        site.kubectl("delete", "ctm", NAME, FEW, "-n", MODELS, "--ignore-not-found", "--wait=false", check=False)


def test_an_upload_becomes_the_champion_by_one_run_though_the_controller_is_killed(runs: Runs) -> None:
    site, ledger = runs.site, runs.state.ledger
    found, _ = site.api.list(JOB, MODELS)
    (check,) = (each for each in found if each["metadata"]["name"].startswith(f"trimtab-check-{NAME}-"))
    assert check["status"].get("failed", 0) == 0

    # First one that is no table of such rows: it is set aside, and nothing is started for it.
    runs.put("broken.csv", "ts,hour\nyesterday,noon\n")
    states = site.until(lambda: [each.state for each in ledger.outcomes().values()], "the broken upload is looked at")
    assert states == ["quarantined"]
    runs.upload("a.csv", 0, 1500)
    (run,) = site.until(runs.workflows, "a run is started")
    site.until(lambda: "train" in runs.jobs(run), "it trains")
    leader = site.kill(SYSTEM, "app.kubernetes.io/name=trimtab-controller")
    site.until(lambda: runs.aliases()[0] == 1, "there is a version 1")
    site.until(lambda: runs.status().get("champion") == 1, "the model's status says so")
    site.until(runs.available, "it serves")

    assert list(runs.workflows()) == [run]
    assert runs.workflows()[run]["status"]["phase"] == "Succeeded"
    assert runs.workflows()[run]["spec"]["serviceAccountName"] == "trimtab-model"
    assert runs.listed() == {run: "SUCCEEDED"}
    assert runs.phases(run) == dict.fromkeys(TO_REGISTER, "Succeeded")
    (version,) = runs.state.registry.versions()
    (decision,) = runs.state.decisions.all()
    assert (version.number, version.run_key, version.rows) == (1, decision.run_key, 1500)
    assert runs.outcomes() == ["champion"]
    assert runs.aliases() == (1, None)
    assert list(runs.predictors()) == ["v1"]
    after = site.pods(SYSTEM, "app.kubernetes.io/name=trimtab-controller")
    assert leader != [pod["metadata"]["name"] for pod in after]


def test_the_next_upload_becomes_a_challenger_with_a_rollout_though_who_executes_runs_is_killed(runs: Runs) -> None:
    site, before = runs.site, list(runs.workflows())
    runs.upload("b.csv", 1500, 2900)
    (run,) = site.until(lambda: runs.workflows().keys() - set(before), "the next run is started")
    site.until(lambda: "select-window" in runs.jobs(run), "it chooses its window")
    runs.kill_driver()
    runs.start_driver()
    site.until(lambda: runs.aliases()[1] == 2, "there is a version 2")
    site.until(lambda: runs.status().get("rollout"), "the model's status names its rollout")
    site.until(lambda: runs.listed().get(run) == "SUCCEEDED", "the run has ended")

    assert list(runs.workflows()) == [*before, run]
    assert runs.phases(run) == dict.fromkeys([*TO_REGISTER, "deploy"], "Succeeded")
    assert runs.outcomes() == ["champion", "challenger"]
    assert runs.aliases() == (1, 2)
    rollout = site.api.get(ROLLOUT, MODELS, f"{NAME}-v2")
    owner = site.model()["metadata"]["uid"]
    assert [each["uid"] for each in rollout["metadata"]["ownerReferences"]] == [owner]


def test_a_run_whose_step_fails_has_failed_and_is_not_tried_again(runs: Runs) -> None:
    site, before = runs.site, list(runs.workflows())
    runs.upload("few.csv", 0, 800, FEW)
    spec = SPEC.replace(f"name: {NAME}", f"name: {FEW}").replace(f"s3://{NAME}/landing/", f"s3://{NAME}/{FEW}/")
    site.kubectl("apply", "-f", "-", stdin=spec)
    (run,) = site.until(lambda: runs.workflows().keys() - set(before), "a run of another model is started")
    site.until(lambda: runs.listed().get(run) == "FAILED", "the run has failed")
    state = runs.state_of(FEW)
    site.until(lambda: state.decisions.outcome(1), "that is written down")
    site.until(lambda: state.data.log(run), "its log is kept")

    assert list(runs.workflows()) == [*before, run]
    done = dict.fromkeys(("ingest", "validate", "detect-drift"), "Succeeded")
    assert runs.phases(run) == {**done, "select-window": "Failed"}
    outcome = state.decisions.outcome(1)
    assert outcome is not None
    assert outcome.state == "failed"
    assert "training needs 1000" in outcome.reason
    # What the pods printed, read by the controller under its own account.
    assert any(line.startswith("select-window: ") for line in outcome.log)
    assert "ingest: decision 1: 800 rows" in (state.data.log(run) or "")
    assert state.registry.manifest() is None

    def next_move() -> str:
        return str(site.api.get(MODEL, MODELS, FEW).get("status", {}).get("nextMove", ""))

    logs, again = site.until(next_move, "people are told what to do").split("`")[1::2]
    assert again.endswith(f"trimtab run {FEW}")
    assert "ingest: decision 1: 800 rows" in site.kubectl(*logs.split()[1:]).stdout  # as people would paste it
    pod = logs.partition(" trimtab logs ")[0].split()[1:]
    assert "training needs 1000" in site.kubectl(*pod, "trimtab", "history", FEW).stdout
