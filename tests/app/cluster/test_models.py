"""A ContinuousModel from apply to a run, with the API server, the store and the launcher in memory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import bikes
import pytest

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.conditions import find
from trimtab.adapters.kubernetes.kinds import EVENT, JOB, MODEL, MODEL_LABEL, POD, SELDON_DEPLOYMENT
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.cluster.led import OWNER
from trimtab.app.cluster.models import Models
from trimtab.app.cluster.resources import ARRIVED
from trimtab.core.errors import Unavailable
from trimtab.core.ports import RunPhase, RunStatus
from trimtab.core.records import IntakeOutcome, LedgerEntry, Outcome, Partition, entry_id
from trimtab.core.sources import parse
from trimtab.core.spec.document import read

SETTINGS = ClusterSettings(
    "state", pipeline_image="trimtab/pipeline:1", pod_name="pod-1", max_concurrent_runs=1, kfp_url="http://kfp"
)
PASSED = json.dumps({"ok": True, "code": "", "sklearn": "1.9.1"})


class Launcher:
    """Runs that end when the test says so."""

    def __init__(self) -> None:
        self.runs: dict[str, RunStatus] = {}

    def look_up(self, run_id: str) -> RunStatus | None:
        return self.runs.get(run_id)

    def launch(self, request: Any) -> RunStatus:
        return self.runs.setdefault(request.run_id, RunStatus(request.run_id, RunPhase.RUNNING))

    def logs(self, run_id: str, lines: int = 20) -> list[str]:
        return ["the last line"]

    def stop(self, run_id: str) -> None:
        self.runs[run_id] = RunStatus(run_id, RunPhase.FAILED, "stopped")


class Cluster:
    """One controller's models, and what stands around them."""

    def __init__(self, api: Any, cache: Path, text: str) -> None:
        self.api, self.cache, self.text = api, cache, text
        self.buckets, self.launcher, self.settings = MemoryBuckets(), Launcher(), SETTINGS
        self.woken: list[tuple[str, str]] = []
        self.start("pod-1")

    def start(self, pod: str, rollouts: Any = None) -> None:
        """A new process: nothing in memory."""
        settings = replace(self.settings, pod_name=pod)
        self.models = Models(self.api, settings, self.buckets, lambda *_: self.launcher, rollouts, self.woken.append)
        for resource in self.api.list(MODEL)[0]:
            self.models.seen(resource)

    def apply(self, name: str = "bikes", **replaced: str) -> tuple[str, str]:
        text = self.text.replace("name: bikes", f"name: {name}")
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        written = read(text, "model.yaml").value
        held = self.api.find(MODEL, "shop", name)
        if held is None:
            self.api.create(MODEL, written | {"metadata": written["metadata"] | {"namespace": "shop"}})
        else:
            self.api.merge(MODEL, "shop", name, {"spec": {**dict.fromkeys(held["spec"]), **written["spec"]}})
        self.models.seen(self.api.get(MODEL, "shop", name))
        return "shop", name

    def arrive(self, key: tuple[str, str], rows: int = 12) -> None:
        """An upload, taken in by the listener, which then tells the controller."""
        state, name = self.state(key), f"in/{uuid.uuid4().hex}.csv"
        self.buckets.bucket("landing").put(name, b"ts,heat,count\n")
        info = self.buckets.bucket("landing").head(name)
        assert info is not None
        now, id = datetime.now(UTC), entry_id(*key, "landing", name, info.etag)
        entry = LedgerEntry(
            id=id, bucket="landing", key=name, etag=info.etag, size=14, modified=now, via="webhook", recorded_at=now
        )
        state.ledger.see(entry)
        part = Partition(id=uuid.uuid4().hex, rows=rows, labelled=rows, quarantined=0, first=now, last=now)
        state.ledger.conclude(
            IntakeOutcome(entry=id, state="ingested", sha256=id, partition=part, decided_at=now, recorded_at=now)
        )
        self.api.merge(MODEL, *key, {"metadata": {"annotations": {ARRIVED: now.isoformat()}}})
        assert self.models.seen(self.api.get(MODEL, *key))

    def state(self, key: tuple[str, str]) -> State:
        return State.open(self.buckets, f"s3://state/{key[0]}", key[1], self.cache)

    def check(self, key: tuple[str, str], message: str = PASSED, code: int = 0) -> None:
        """The Job's pod ends with this message."""
        job = self.api.list(JOB, key[0], f"trimtab.dev/model={key[1]}")[0][-1]
        name = job["metadata"]["name"]
        ended = {"exitCode": code, "message": message}
        self.api.put(
            POD,
            {
                "metadata": {
                    "namespace": key[0],
                    "name": f"{name}-{uuid.uuid4().hex[:5]}",
                    "labels": {"batch.kubernetes.io/job-name": name},
                },
                "status": {"containerStatuses": [{"state": {"terminated": ended}}]},
            },
        )
        if code:
            job["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": "backoff limit"}]}
            self.api.put(JOB, job)

    def accepted(self, key: tuple[str, str]) -> None:
        self.models.look(key)
        self.check(key)
        self.models.look(key)

    def status(self, key: tuple[str, str]) -> dict[str, Any]:
        return self.api.get(MODEL, *key).get("status") or {}

    def condition(self, key: tuple[str, str], type: str) -> tuple[str, str, str]:
        found = find(self.status(key)["conditions"], type)
        assert found is not None
        return found["status"], found["reason"], found["message"]


@pytest.fixture
def cluster(api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    return Cluster(api, tmp_path / "cache", bikes.spec())


def test_nothing_runs_before_the_estimator_was_checked(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[:2] == ("Unknown", "Checking")
    assert cluster.launcher.runs == {}
    assert cluster.state(key).decisions.all() == []


def test_a_sound_spec_is_accepted_and_what_arrived_starts_a_run(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    assert cluster.condition(key, "Accepted") == ("True", "Accepted", "the spec is sound")
    assert len(cluster.launcher.runs) == 1
    assert cluster.condition(key, "Training")[:2] == ("True", "RunGoesOn")
    assert cluster.status(key)["uploads"]["ingested"] == 1
    assert cluster.status(key)["observedGeneration"] == 1


def test_a_refused_estimator_is_told_with_the_sentence_of_the_check_and_no_run_starts(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.models.look(key)
    sentence = "spec.training.estimator: scikit-learn 1.9.1 has no module sklearn.linaer_model"
    cluster.check(key, json.dumps({"ok": False, "message": sentence}))
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted") == ("False", "Refused", sentence)
    assert cluster.state(key).decisions.all() == []


def test_a_spec_that_contradicts_itself_needs_no_job(cluster: Cluster) -> None:
    key = cluster.apply(mean_absolute_error="roc_auc")
    cluster.models.look(key)
    status, reason, message = cluster.condition(key, "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert "spec.evaluation" in message
    assert cluster.api.list(JOB)[0] == []


def test_what_only_a_laptop_does_is_refused_before_anything_runs(cluster: Cluster) -> None:
    canary = "  rollout: {strategy: canary, steps: [{setWeight: 10}], stickyHeader: x-user-id}\n"
    key = cluster.apply(**{"  evaluation:": canary + "  evaluation:"})
    cluster.arrive(key)
    cluster.models.look(key)
    status, reason, message = cluster.condition(key, "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert "spec.rollout.stickyHeader: found x-user-id" in message
    assert "strategy: canary" in message
    assert cluster.api.list(JOB)[0] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "s3://landing/in/",
            "s3://state/shop/",
            "spec.data.source: found s3://state/shop/, in the bucket of trimtab's",
        ),
        ("s3://landing/in/", "s3://payroll/", "models of namespace shop may read landing/in/*, shop-*/*"),
        ("s3://landing/in/", "s3://landing/", "spec.data.source: found s3://landing/; models of"),
        (
            "    target:",
            "    labels: {source: s3://payroll/}\n    target:",
            "spec.data.labels.source: found s3://payroll/",
        ),
    ],
)
def test_what_models_of_a_namespace_may_not_read_is_refused_before_anything_runs(
    cluster: Cluster, old: str, new: str, said: str
) -> None:
    cluster.settings = replace(SETTINGS, sources=parse("shop=landing/in/*, shop=shop-*/*, web=payroll/*"))
    cluster.start("pod-1")
    refused, allowed = cluster.apply(**{old: new}), cluster.apply("other")
    cluster.models.look(refused)
    status, reason, message = cluster.condition(refused, "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert said in message
    assert cluster.api.list(JOB, "shop")[0] == []
    cluster.accepted(allowed)
    assert cluster.condition(allowed, "Accepted")[0] == "True"


def test_a_schema_that_models_of_a_namespace_may_not_read_is_not_fetched(cluster: Cluster) -> None:
    key, address = cluster.apply(), "s3://state/web/bikes/specs/secret.yaml"
    held = cluster.api.get(MODEL, *key)
    data = {name: value for name, value in held["spec"]["data"].items() if name != "schema"} | {"schemaRef": address}
    cluster.api.put(MODEL, held | {"spec": held["spec"] | {"data": data}})
    cluster.start("pod-1")
    fetched: list[str] = []
    cluster.buckets.fail = lambda operation, name, done: fetched.append(name)
    cluster.models.look(key)
    assert f"spec.data.schemaRef: found {address}" in cluster.condition(key, "Accepted")[2]
    assert not [name for name in fetched if "secret" in name]


def test_without_a_setting_any_source_but_the_state_may_be_read(cluster: Cluster) -> None:
    key = cluster.apply(**{"s3://landing/in/": "s3://payroll/"})
    cluster.accepted(key)
    assert cluster.condition(key, "Accepted")[0] == "True"


def test_a_source_that_may_not_be_read_any_more_starts_no_run(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    cluster.settings = replace(SETTINGS, sources=parse("shop=elsewhere/*"))
    cluster.start("pod-2")
    cluster.arrive(key)
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[:2] == ("False", "Invalid")
    assert cluster.launcher.runs == {}


def test_an_alert_to_a_variable_that_is_not_for_models_is_refused(cluster: Cluster) -> None:
    key = cluster.apply(**{"  evaluation:": "  alerts: [{urlFrom: {env: AWS_SECRET_ACCESS_KEY}}]\n  evaluation:"})
    cluster.models.look(key)
    status, reason, message = cluster.condition(key, "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert "spec.alerts[0].urlFrom.env: found AWS_SECRET_ACCESS_KEY" in message
    assert "begins with TRIMTAB_ALERT_" in message
    assert cluster.api.list(JOB, "shop")[0] == []


def test_resources_that_no_run_can_be_given_are_refused_before_one_starts(cluster: Cluster) -> None:
    with_resources = {'LinearRegression"': 'LinearRegression", resources: {limits: {memory: 4GB}}'}
    key = cluster.apply(**with_resources)
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[:2] == ("False", "Invalid")
    assert "spec.training.resources.limits.memory: found '4GB'" in cluster.condition(key, "Accepted")[2]

    cluster.settings = replace(SETTINGS, kfp_pipeline_version="training-1")
    cluster.start("pod-2")
    key = cluster.apply("cars", **{old: new.replace("4GB", "4Gi") for old, new in with_resources.items()})
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[:2] == ("False", "Invalid")
    assert "PipelineVersion training-1 has its own" in cluster.condition(key, "Accepted")[2]


def test_a_check_that_gives_no_verdict_says_why_and_is_made_again(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.models.look(key)
    cluster.check(key, "the S3 endpoint does not answer", code=1)
    assert cluster.models.look(key) == 60.0
    status, reason, message = cluster.condition(key, "Accepted")
    assert (status, reason) == ("Unknown", "CheckFailed")
    assert "the S3 endpoint does not answer" in message
    assert cluster.api.list(JOB)[0] == []


def test_a_verdict_is_kept_in_the_state_so_that_a_new_process_checks_nothing_again(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    for job in cluster.api.list(JOB)[0]:
        cluster.api.delete(JOB, "shop", job["metadata"]["name"])
    cluster.start("pod-2")
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[0] == "True"
    assert cluster.api.list(JOB)[0] == []


def test_a_changed_parameter_is_checked_again_and_a_changed_trigger_is_not(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    cluster.apply(**{"minNewRows: 10": "minNewRows: 20"})
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[0] == "True"
    cluster.apply(**{'"sklearn.linear_model:LinearRegression"': '"sklearn.linear_model:Ridge"'})
    cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[:2] == ("Unknown", "Checking")
    assert len(cluster.api.list(JOB)[0]) == 2


def test_a_successor_goes_on_with_the_run_under_a_higher_epoch(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    before = cluster.state(key).lease.who()
    cluster.start("pod-2")
    cluster.models.look(key)
    after = cluster.state(key).lease.who()
    assert before is not None
    assert after is not None
    assert (before.owner, after.owner) == (OWNER, OWNER)
    assert after.epoch == before.epoch + 1
    assert len(cluster.launcher.runs) == 1


def test_while_a_laptop_works_for_the_model_the_controller_stands_by(cluster: Cluster) -> None:
    key = cluster.apply()
    assert cluster.state(key).lease.acquire("laptop", 60.0) == 1
    cluster.arrive(key)
    cluster.accepted(key)
    assert cluster.launcher.runs == {}
    assert cluster.status(key)["problems"] == ["standing by: laptop works for this model"]


def test_a_namespace_s_second_run_waits_for_the_first(cluster: Cluster) -> None:
    first, second = cluster.apply("bikes"), cluster.apply("cars")
    for key in (first, second):
        cluster.accepted(key)
        cluster.arrive(key)
    cluster.models.look(first)
    cluster.models.look(second)
    assert len(cluster.launcher.runs) == 1
    assert "1 run of namespace shop may go on at a time" in cluster.status(second)["waiting"]
    conclude(cluster, first)
    cluster.models.look(first)
    assert cluster.woken == [second]
    cluster.models.look(second)
    assert len(cluster.launcher.runs) == 2


def test_without_a_kfp_api_a_model_is_watched_and_says_what_is_missing(cluster: Cluster) -> None:
    cluster.settings = replace(SETTINGS, kfp_url="")
    cluster.start("pod-1")
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    assert "TRIMTAB_KFP_URL" in cluster.status(key)["waiting"]
    assert cluster.state(key).decisions.all() == []


def test_a_quiet_look_reads_no_upload_and_writes_nothing(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key, rows=3)
    cluster.accepted(key)
    cluster.models.look(key)
    asked: list[str] = []
    cluster.buckets.fail = lambda operation, where, done: asked.append(f"{operation} {where}")
    written = len(cluster.api.writes)
    cluster.models.look(key)
    assert not [each for each in asked if "ledger" in each or each.startswith(("create", "replace"))]
    assert len(cluster.api.writes) == written


def test_a_wish_for_a_run_is_found_without_being_told(cluster: Cluster) -> None:
    from trimtab.adapters.requests import Requests

    key = cluster.apply(**{"minNewRows: 10": "minNewRows: 100"})
    cluster.arrive(key)
    cluster.accepted(key)
    assert cluster.launcher.runs == {}
    Requests(cluster.state(key)).ask("cli")
    cluster.models.look(key)
    assert [decision.reason for decision in cluster.state(key).decisions.all()] == ["onDemand"]


def test_a_store_that_does_not_answer_is_said_and_what_was_known_stays(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)

    def away(*_: Any) -> None:
        raise Unavailable("the store does not answer")

    cluster.buckets.fail = away
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    assert cluster.condition(key, "Working") == ("False", "Problem", "the store does not answer")
    assert cluster.condition(key, "Accepted")[0] == "True"
    cluster.buckets.fail = None
    cluster.models.look(key)
    assert cluster.condition(key, "Working")[0] == "True"


def test_decisions_are_told_as_events_once(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    told = {event["reason"] for event in cluster.api.list(EVENT, "shop")[0]}
    assert {"TrainingDecided", "Ingested"} <= told
    number = len(cluster.api.list(EVENT, "shop")[0])
    cluster.start("pod-2")
    cluster.models.look(key)
    assert len(cluster.api.list(EVENT, "shop")[0]) == number


def test_who_the_spec_names_is_told_of_a_run_that_failed(
    cluster: Cluster, inbox: Any, wait_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_ALERT_BIKES", inbox.address)
    cluster.models.alerts.start()
    key = cluster.apply(**{"  evaluation:": "  alerts: [{urlFrom: {env: TRIMTAB_ALERT_BIKES}}]\n  evaluation:"})
    cluster.accepted(key)
    state = cluster.state(key)
    wait_for(lambda: state.bucket.find(state.layout.current("alerts-TRIMTAB_ALERT_BIKES")))
    cluster.arrive(key)
    cluster.models.look(key)
    conclude(cluster, key, "failed")
    cluster.models.look(key)
    wait_for(lambda: inbox.messages)
    assert inbox.titles() == ["bikes: failed"]
    assert "`kubectl trimtab status bikes -n shop`" in inbox.messages[0]["message"]
    cluster.models.alerts.stop()


def test_the_next_move_after_a_failed_run_names_the_listener_s_pod_and_the_model_s_namespace(cluster: Cluster) -> None:
    cluster.settings = replace(cluster.settings, pod_namespace="ml")
    cluster.start("pod-1")
    key = cluster.apply()
    cluster.accepted(key)
    cluster.arrive(key)
    cluster.models.look(key)
    conclude(cluster, key, "failed")
    cluster.models.look(key)
    pod = "kubectl -n ml exec deploy/trimtab-listener -- env TRIMTAB_NAMESPACE=shop trimtab"
    assert cluster.status(key)["nextMove"].split("`")[1::2] == [f"{pod} logs bikes/1", f"{pod} run bikes"]


def test_a_lost_status_is_written_again(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    before = cluster.status(key)
    held = cluster.api.get(MODEL, *key)
    del held["status"]
    cluster.api.put(MODEL, held)
    cluster.start("pod-2")
    cluster.models.look(key)
    assert strip(cluster.status(key)) == strip(before)


def test_a_deleted_model_gives_its_lease_back(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    cluster.models.deleted(key)
    assert cluster.models.look(key) is None
    cluster.models.lead(key)
    assert cluster.state(key).lease.who() is None
    assert len(cluster.models) == 0


class Leaving:
    """Rollouts that only take leave, in two looks."""

    def __init__(self) -> None:
        self.left: list[tuple[str, str, int]] = []

    def lead(self, *_: Any) -> float:
        return 3600.0

    def gone(self, namespace: str, model: Any, owner: Any, epoch: int) -> float:
        self.left.append((namespace, model.name, epoch))
        return 0.0 if len(self.left) > 1 else 0.5

    def problems(self, key: Any) -> tuple[str, ...]:
        return ()

    def standing(self, key: Any) -> None:
        return None


def leaves_behind(cluster: Cluster, name: str, **meta: Any) -> None:
    """A SeldonDeployment with the mark of a model."""
    meta = {"namespace": "shop", "name": name, "labels": {MODEL_LABEL: name}, **meta}
    cluster.api.create(SELDON_DEPLOYMENT, {"metadata": meta, "spec": {"predictors": [{"name": "v1"}]}})


def test_a_model_that_was_deleted_while_nobody_led_is_found_by_what_it_adopted(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    leaves_behind(cluster, "bikes")
    cluster.api.delete(MODEL, *key)
    cluster.start("pod-2", rollouts := Leaving())
    assert cluster.models.left_behind() == [key]

    assert cluster.models.lead(key) == 0.5
    assert cluster.models.lead(key) is None
    assert [each[:2] for each in rollouts.left] == [key, key]
    assert cluster.state(key).lease.who() is None
    assert len(cluster.models) == 0


def test_a_deletion_that_the_watch_missed_is_found(cluster: Cluster) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    cluster.apply("trams")
    cluster.api.delete(MODEL, *key)
    assert cluster.models.left_behind() == [key]
    assert cluster.models.lead(key) is None
    assert len(cluster.models) == 1


def test_what_is_led_and_what_goes_with_its_model_is_not_left_behind(cluster: Cluster) -> None:
    cluster.apply()
    leaves_behind(cluster, "bikes")
    leaves_behind(cluster, "trams", ownerReferences=[{"kind": MODEL.name, "name": "trams", "uid": "u-1"}])
    leaves_behind(cluster, "boats", labels={MODEL_LABEL: "somebody-elses"})
    assert cluster.models.left_behind() == []


def test_a_model_that_comes_while_what_is_left_is_listed_is_led(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = cluster.api.list

    def and_then_it_comes(kind: Any, *args: Any, **more: Any) -> Any:
        found = listed(kind, *args, **more)
        if kind is MODEL:
            monkeypatch.setattr(cluster.api, "list", listed)
            cluster.apply()
        return found

    leaves_behind(cluster, "bikes")
    monkeypatch.setattr(cluster.api, "list", and_then_it_comes)
    (key,) = cluster.models.left_behind()
    cluster.accepted(key)
    assert cluster.condition(key, "Accepted")[0] == "True"


def strip(status: dict[str, Any]) -> dict[str, Any]:
    """Without the moments of the conditions."""
    conditions = [{k: v for k, v in each.items() if k != "lastTransitionTime"} for each in status["conditions"]]
    return {**status, "conditions": sorted(conditions, key=lambda each: each["type"])}


def conclude(cluster: Cluster, key: tuple[str, str], how: Literal["rejected", "failed"] = "rejected") -> None:
    """The run ends, as its last step and the launcher tell it."""
    decision, now = cluster.state(key).decisions.all()[-1], datetime.now(UTC)
    cluster.state(key).decisions.conclude(
        Outcome(
            number=decision.number,
            run_key=decision.run_key,
            state=how,
            reason="not better",
            decided_at=now,
            recorded_at=now,
        )
    )
    for run_id in cluster.launcher.runs:
        cluster.launcher.runs[run_id] = RunStatus(run_id, RunPhase.SUCCEEDED)


def test_a_launcher_that_does_not_answer_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("KFP does not answer")

    monkeypatch.setattr(cluster.launcher, "look_up", away)
    key = cluster.apply()
    cluster.arrive(key)
    cluster.models.look(key)
    cluster.check(key)
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    assert cluster.condition(key, "Accepted")[0] == "True"
    assert cluster.condition(key, "Working") == ("False", "Problem", "KFP does not answer")


def test_while_the_launcher_is_away_what_is_decided_and_known_is_said(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("KFP does not answer")

    answers = cluster.launcher.look_up
    monkeypatch.setattr(cluster.launcher, "look_up", away)
    key = cluster.apply()
    cluster.arrive(key)
    cluster.models.look(key)
    cluster.check(key)
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    status = cluster.status(key)
    assert status["run"].startswith("1: upload")
    assert status["uploads"]["ingested"] == 1
    assert cluster.condition(key, "Training")[:2] == ("True", "RunGoesOn")
    assert {"Ingested", "TrainingDecided"} <= {event["reason"] for event in cluster.api.list(EVENT, "shop")[0]}
    cluster.arrive(key)
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    assert cluster.status(key)["uploads"]["ingested"] == 2
    assert len(cluster.state(key).decisions.all()) == 1

    monkeypatch.setattr(cluster.launcher, "look_up", answers)
    cluster.models.look(key)
    assert cluster.condition(key, "Working")[0] == "True"
    assert len(cluster.launcher.runs) == 1


def test_where_launcher_and_store_are_away_what_was_said_stays(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("KFP does not answer")

    def journal_away(operation: str, where: str, done: bool) -> None:
        if operation == "create" and "/journal/" in where:
            raise Unavailable("the store does not answer")

    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    cluster.models.look(key)
    before = cluster.status(key)
    monkeypatch.setattr(cluster.launcher, "look_up", away)
    cluster.arrive(key)
    cluster.buckets.fail = journal_away
    with pytest.raises(Unavailable, match="the store does not answer"):
        cluster.models.look(key)
    after = cluster.status(key)
    assert (after["run"], after["uploads"]) == (before["run"], before["uploads"])


def test_while_the_launcher_is_away_a_run_that_goes_on_is_not_taken_for_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("KFP does not answer")

    answers = cluster.launcher.look_up
    key = cluster.apply()
    cluster.arrive(key)
    cluster.accepted(key)
    cluster.models.look(key)
    monkeypatch.setattr(cluster.launcher, "look_up", away)
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    assert cluster.condition(key, "Training")[:2] == ("True", "RunGoesOn")
    assert cluster.condition(key, "Working") == ("False", "Problem", "KFP does not answer")
    cluster.arrive(key)
    with pytest.raises(Unavailable):
        cluster.models.look(key)
    assert cluster.status(key)["uploads"]["ingested"] == 2
    monkeypatch.setattr(cluster.launcher, "look_up", answers)
    conclude(cluster, key)
    cluster.models.look(key)
    assert cluster.condition(key, "Working")[0] == "True"
    assert "rejected" in cluster.status(key)["lastRun"]


def test_what_never_comes_to_rest_is_looked_at_less_often_after_a_while(cluster: Cluster) -> None:
    now = [0.0]

    class Unsettled:
        def lead(self, *_: Any) -> float:
            return 0.2

        def gone(self, *_: Any) -> float:
            return 0.0

        def problems(self, key: Any) -> tuple[str, ...]:
            return ()

        def standing(self, key: Any) -> None:
            return None

    args = (cluster.api, SETTINGS, cluster.buckets, lambda *_: cluster.launcher, Unsettled(), cluster.woken.append)
    cluster.models = Models(*args, clock=lambda: now[0])
    key = cluster.apply()
    cluster.accepted(key)
    assert cluster.models.lead(key) == 0.2
    now[0] = 60.0
    assert cluster.models.lead(key) == 2.0


def test_news_that_comes_while_a_status_is_written_is_not_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cluster.apply()
    cluster.accepted(key)
    merge = cluster.api.merge

    def slow(kind: Any, namespace: str, name: str, body: Any, subresource: str = "", manager: str = "") -> Any:
        written = merge(kind, namespace, name, body, subresource, manager)
        if subresource == "status":
            monkeypatch.setattr(cluster.api, "merge", merge)
            cluster.arrive(key)  # the watch brings it, and the status, before the answer to the write
            cluster.models.seen(cluster.api.get(MODEL, *key))
        return written

    monkeypatch.setattr(cluster.api, "merge", slow)
    cluster.apply(**{"minNewRows: 10": "minNewRows: 11"})
    cluster.models.look(key)
    cluster.models.look(key)
    assert len(cluster.launcher.runs) == 1
