"""KfpLauncher over the stub: one run an id, its state in the port's words, and what is sent of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.adapters.kfp_api import Kfp, KfpLauncher
from trimtab.adapters.kfp_gone import LOOK_SECONDS, Gone
from trimtab.adapters.kfp_posting import Postings
from trimtab.adapters.kfp_rest import PERMANENT
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.execution import Executor
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.ports import RunPhase, RunRequest, RunStatus
from trimtab.core.records import Decision

IMAGE = f"registry.example.org/own@sha256:{'7' * 64}"


def request_for(run_id: str = "", image: str = "") -> RunRequest:
    run_id = run_id or str(uuid.uuid4())
    objects = ("s3://landing/a.csv",)
    return RunRequest(
        run_id, "bikes", "s3://state/shop/bikes/specs/1.yaml", "s3://state/shop", objects, "upload", "k1", image
    )


def launcher_of(kfp, **settings) -> KfpLauncher:
    return KfpLauncher(kfp, "shop", "bikes", **settings)


# What is sent


def test_a_run_carries_the_pipeline_its_parameters_and_its_own_id(stub, make_kfp):
    request = request_for()
    assert launcher_of(make_kfp(stub), image=IMAGE).launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    _, run = stub("GET", f"/runs/{request.run_id}")
    assert run["display_name"] == "bikes upload k1"
    assert run["service_account"] == "trimtab-model"
    assert run["runtime_config"]["parameters"] == {
        "model": "bikes",
        "spec": "s3://state/shop/bikes/specs/1.yaml",
        "state": "s3://state/shop",
        "objects": ["s3://landing/a.csv"],
        "reason": "upload",
        "run_key": "k1",
        "image": IMAGE,
    }
    platform = run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = run["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert set(platform) == set(executors)
    (secret,) = platform["exec-train"]["secretAsEnv"]
    assert (secret["secretName"], secret["optional"]) == ("trimtab-s3", True)
    assert {"secretKey": "AWS_ACCESS_KEY_ID", "envVar": "AWS_ACCESS_KEY_ID"} in secret["keyToEnv"]


def test_the_runs_of_a_model_stand_in_one_experiment_that_tells_namespaces_apart(stub, make_kfp):
    kfp = make_kfp(stub)
    stub("POST", "/experiments", {"display_name": "shop.bike"})
    for _ in range(2):
        launcher_of(kfp).launch(request_for())
    launcher_of(make_kfp(stub)).launch(request_for())
    _, found = stub("GET", "/experiments")
    ids = {each["display_name"]: each["experiment_id"] for each in found["experiments"]}
    assert set(ids) == {"shop.bike", "shop.bikes"}
    _, runs = stub("GET", "/runs")
    assert [run["experiment_id"] for run in runs["runs"]] == [ids["shop.bikes"]] * 3


def test_an_experiment_that_was_deleted_is_made_again(stub, make_kfp):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request_for())
    _, found = stub("GET", "/experiments")
    stub("DELETE", f"/experiments/{found['experiments'][0]['experiment_id']}")
    with pytest.raises(Unavailable, match="not found; it is made again"):
        launcher.launch(request)
    assert launcher.launch(request).phase is RunPhase.PENDING


def test_a_pipeline_version_in_kfp_stands_in_for_the_package(stub, make_kfp, package):
    from ruamel.yaml import YAML

    spec = YAML(typ="safe").load(package)
    pipeline = stub.upload("upload", spec, name="continuous-training").json()
    version = stub.upload(
        "upload_version", spec, name="continuous-training-12ab34cd56ef", pipelineid=pipeline["pipeline_id"]
    ).json()
    kfp = make_kfp(stub, package=None, version="continuous-training-12ab34cd56ef")
    request = request_for()
    launcher_of(kfp).launch(request)
    _, run = stub("GET", f"/runs/{request.run_id}")
    assert run["pipeline_version_reference"] == {
        "pipeline_id": pipeline["pipeline_id"],
        "pipeline_version_id": version["pipeline_version_id"],
    }
    with pytest.raises(Invalid, match=r"spec\.training\.resources: the PipelineVersion"):
        launcher_of(kfp, resources={"limits": {"cpu": 2}}).launch(request_for())
    with pytest.raises(Invalid, match="KFP knows no version"):
        launcher_of(make_kfp(stub, version="continuous-training-000000000000")).launch(request_for())


# How a run stands


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("", RunPhase.PENDING),  # reported before Argo set a phase: KFP leaves the state out
        ("Pending", RunPhase.PENDING),
        ("Running", RunPhase.RUNNING),
        ("Succeeded", RunPhase.SUCCEEDED),
        ("Skipped", RunPhase.SUCCEEDED),
        ("Failed", RunPhase.FAILED),
        ("Error", RunPhase.FAILED),
    ],
)
def test_states_in_the_ports_words(stub, make_kfp, phase, expected):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request)
    stub.report(request.run_id, phase)
    found = launcher.look_up(request.run_id)
    assert found is not None
    assert found.phase is expected
    assert bool(found.error) == (expected is RunPhase.FAILED)


def test_a_failed_run_names_the_steps_that_failed(stub, make_kfp):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request)
    tasks = [{"display_name": name, "state": "FAILED"} for name in ("root", "train", "executor")]
    stub.report(request.run_id, "Failed", tasks=tasks)
    found = launcher.look_up(request.run_id)
    assert found is not None
    assert found.error == "train failed in KFP"


def test_a_run_that_is_terminated_runs_until_it_has_failed(stub, make_kfp):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request)
    stub("POST", f"/runs/{request.run_id}:terminate")
    assert launcher.look_up(request.run_id) == RunStatus(request.run_id, RunPhase.RUNNING)
    stub.report(request.run_id, "Failed")
    found = launcher.look_up(request.run_id)
    assert found is not None
    assert found.phase is RunPhase.FAILED


def test_the_first_end_stands_also_for_a_process_that_comes_later(stub, make_kfp):
    request = request_for()
    launcher_of(make_kfp(stub)).launch(request)
    _, run = stub("GET", f"/runs/{request.run_id}")
    stub("POST", "/runs", {"run_id": request.run_id, "display_name": "stray", "pipeline_spec": run["pipeline_spec"]})
    stub.report(request.run_id, "Succeeded")
    stub.report(request.run_id, "Failed", which=1)
    assert stub("GET", f"/runs/{request.run_id}")[1]["state"] == "FAILED"
    found = launcher_of(make_kfp(stub)).look_up(request.run_id)
    assert found == RunStatus(request.run_id, RunPhase.SUCCEEDED)


def test_an_archived_run_is_the_same_run(stub, make_kfp):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request)
    stub.report(request.run_id, "Running")
    stub("POST", f"/runs/{request.run_id}:archive")
    assert launcher.look_up(request.run_id) == RunStatus(request.run_id, RunPhase.RUNNING)
    assert launcher.launch(request) == RunStatus(request.run_id, RunPhase.RUNNING)
    assert stub.steer("counts")["workflows"] == {request.run_id: 1}


def test_what_was_never_started_is_unknown(stub, make_kfp):
    launcher = launcher_of(make_kfp(stub))
    assert launcher.look_up(str(uuid.uuid4())) is None
    launcher.stop(str(uuid.uuid4()))


def test_stop_ends_the_run_and_waits_for_its_end(stub, make_kfp, monkeypatch):
    launcher, request = launcher_of(make_kfp(stub)), request_for()
    launcher.launch(request)
    monkeypatch.setattr("trimtab.adapters.kfp_api.STOP_SECONDS", 0.3)
    launcher.stop(request.run_id)
    (workflow,) = stub.workflows(request.run_id)
    assert workflow["spec"]["activeDeadlineSeconds"] == 0
    stub.report(request.run_id, "Failed")
    launcher.stop(request.run_id)
    found = launcher.look_up(request.run_id)
    assert found is not None
    assert found.phase is RunPhase.FAILED


# What goes wrong


@pytest.mark.parametrize("fault", ["lost-after", "late"])
def test_a_run_whose_answer_is_lost_is_found_and_not_sent_again(stub, make_kfp, fault):
    launcher, request = launcher_of(make_kfp(stub, answer_seconds=0.5)), request_for()
    stub.steer("faults", faults=[{"kind": fault, "seconds": 1.0 if fault == "late" else 0}])
    assert launcher.launch(request).phase is RunPhase.PENDING
    assert stub.steer("counts")["workflows"] == {request.run_id: 1}


def test_a_workflow_without_a_run_is_adopted_and_not_made_again(stub, make_kfp):
    launcher, request = launcher_of(make_kfp(stub, patience=0)), request_for()
    stub.steer("faults", faults=[{"kind": "500-after"}])
    assert launcher.launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    assert launcher.launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    stub.steer("phase", run_id=request.run_id, phase="Succeeded")
    assert launcher.look_up(request.run_id) == RunStatus(request.run_id, RunPhase.SUCCEEDED)
    assert stub.steer("counts") == {
        "runs": 0,
        "workflows": {request.run_id: 1},
        "posts": {request.run_id: 1},
        "making": 0,
    }


@pytest.mark.parametrize("fault", ["lost-before", "500-before"])
def test_a_request_that_was_lost_is_sent_again_only_when_it_can_have_no_effect_any_more(stub, make_kfp, fault):
    buckets = MemoryBuckets()
    kfp, request = make_kfp(stub, buckets, settle_seconds=0.1), request_for()
    stub.steer("faults", faults=[{"kind": fault}])
    with pytest.raises(Unavailable, match="KFP has not said whether it started run"):
        launcher_of(kfp).launch(request)
    with pytest.raises(Unavailable, match="which does not show it yet"):
        launcher_of(make_kfp(stub, buckets)).launch(request)
    kfp.postings = Postings(buckets, lambda: datetime.now(UTC) + timedelta(seconds=61), kfp.postings.patience)
    assert launcher_of(kfp).launch(request).phase is RunPhase.PENDING
    assert stub.steer("counts")["posts"] == {request.run_id: 1}


class Killed(BaseException):
    """In the place of SIGKILL: nothing of the process goes on."""


@pytest.mark.parametrize(("place", "sent"), [("before-post", 0), ("after-post", 1)])
def test_a_launcher_killed_around_its_request_leaves_one_execution_to_the_next(
    stub, make_kfp, monkeypatch, place, sent
):
    buckets, request = MemoryBuckets(), request_for()

    def point(name: str) -> None:
        if name == place:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("trimtab.adapters.crash.point", point)
        with pytest.raises(Killed):
            launcher_of(make_kfp(stub, buckets)).launch(request)
    assert sum(stub.steer("counts")["posts"].values()) == sent
    kfp = make_kfp(stub, buckets)
    later = datetime.now(UTC) + timedelta(seconds=61)
    kfp.postings = Postings(buckets, lambda: later, kfp.postings.patience)
    assert launcher_of(kfp).launch(request) == RunStatus(request.run_id, RunPhase.PENDING)
    assert stub.steer("counts")["workflows"] == {request.run_id: 1}


def test_a_server_that_is_not_there_had_no_effect_and_keeps_nobody_waiting(start_stub, stub, make_kfp):
    request, buckets = request_for(), MemoryBuckets()
    gone = start_stub()
    kfp = make_kfp(gone, buckets)
    launcher_of(kfp).launch(request_for())  # it knows experiment and mode by now
    gone.process.terminate()
    gone.process.wait(20)
    with pytest.raises(Unavailable, match="does not answer"):
        launcher_of(kfp).launch(request)
    assert launcher_of(make_kfp(stub, buckets)).launch(request).phase is RunPhase.PENDING


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda spec: spec.update(schemaVersion="2.0.0"), "KFP only supports schema version 2.1.0"),
        (lambda spec: spec.update(surprise=1), "pipeline spec is invalid"),
        (lambda spec: spec["root"]["inputDefinitions"]["parameters"].pop("model"), "not required by pipeline: model"),
    ],
)
def test_what_kfp_never_takes_is_invalid_at_once_whatever_status_it_answers(stub, make_kfp, change, text):
    kfp = make_kfp(stub)
    change(kfp.pipeline.spec)
    request = request_for()
    for _ in range(2):  # no mark keeps the mended one waiting
        with pytest.raises(Invalid, match=text):
            launcher_of(kfp).launch(request)
    assert stub.steer("counts") == {"runs": 0, "workflows": {}, "posts": {}, "making": 0}


def test_texts_that_are_permanent_are_kfps_own():
    assert all(isinstance(text, str) and text for text in PERMANENT)
    assert not any(text in "Failed to store run x to table: Error 2013: Lost connection" for text in PERMANENT)


# Workflows that are deleted


class Looks:
    """A launcher whose looks are so far apart that each asks for the Workflow."""

    def __init__(self, kfp: Kfp) -> None:
        self.now = 0.0
        kfp.gone = Gone(kfp.postings.buckets, lambda: self.now)
        self.launcher = launcher_of(kfp)

    def phases(self, run_id: str, looks: int) -> list[RunPhase]:
        found = []
        for _ in range(looks):
            status = self.launcher.look_up(run_id)
            assert status is not None
            found.append(status.phase)
            self.now += LOOK_SECONDS
        return found


def test_a_run_whose_workflow_was_deleted_has_failed_after_two_looks(stub, make_kfp):
    buckets, request = MemoryBuckets(), request_for()
    here = Looks(make_kfp(stub, buckets))
    here.launcher.launch(request)
    stub.report(request.run_id, "Running")
    assert here.phases(request.run_id, 3) == [RunPhase.RUNNING] * 3
    stub.steer("forget-workflows", run_id=request.run_id)
    assert here.phases(request.run_id, 2) == [RunPhase.RUNNING, RunPhase.FAILED]
    after_a_restart = Looks(make_kfp(stub, buckets))
    assert after_a_restart.phases(request.run_id, 2) == [RunPhase.RUNNING, RunPhase.FAILED]
    assert after_a_restart.launcher.launch(request).error == "its Workflow is gone: somebody deleted it"
    assert stub.steer("counts")["posts"] == {request.run_id: 1}


def test_two_looks_within_moments_say_nothing(stub, make_kfp):
    here, request = Looks(make_kfp(stub)), request_for()
    here.launcher.launch(request)
    here.phases(request.run_id, 1)
    stub.steer("forget-workflows", run_id=request.run_id)
    here.phases(request.run_id, 1)
    here.now -= LOOK_SECONDS / 2
    assert here.phases(request.run_id, 1) == [RunPhase.PENDING]


def test_where_kfp_stands_in_another_cluster_no_workflow_is_missed(start_stub, stub, make_kfp, kubernetes_of):
    kfp, request = make_kfp(stub), request_for()
    kfp.api = kubernetes_of(start_stub().url)
    here = Looks(kfp)
    here.launcher.launch(request)
    assert here.phases(request.run_id, 4) == [RunPhase.PENDING] * 4


def test_workflows_that_may_not_be_listed_are_not_missed(stub, make_kfp, monkeypatch):
    here, request = Looks(make_kfp(stub)), request_for()
    here.launcher.launch(request)
    here.phases(request.run_id, 1)

    def forbidden(*_: object, **__: object) -> None:
        raise Invalid("workflows.argoproj.io is forbidden")

    monkeypatch.setattr(here.launcher.kfp.api, "list", forbidden)
    assert here.phases(request.run_id, 4) == [RunPhase.PENDING] * 4


def test_a_decision_whose_workflow_was_deleted_is_tried_again_under_another_id(stub, make_kfp):
    buckets, now = MemoryBuckets(), [datetime.now(UTC)]
    here = Looks(make_kfp(stub, buckets))
    state = State.open(buckets, "s3://state/shop", "bikes", now=lambda: now[0])
    texts = {"reason": "schedule", "dataset": "d", "training_digest": "t", "spec": "s", "run_key": "k1"}
    times = {"decided_at": now[0], "recorded_at": now[0]}
    decision = Decision(number=1, entries=(), evidence={}, **texts, **times)
    state.decisions.propose(decision)

    class Wall:
        def now(self) -> datetime:
            return now[0]

    executor = Executor(state, here.launcher, Wall(), lambda: now[0], "pod-0", lambda name: None)
    first = executor.advance(decision)
    assert first is not None
    executor.advance(decision)
    stub.steer("forget-workflows", run_id=first.run_id)
    for _ in range(4):
        now[0] += timedelta(seconds=LOOK_SECONDS)
        here.now += LOOK_SECONDS
        executor.advance(decision)
    second = state.decisions.claim(1)
    assert second is not None
    assert (second.attempt, second.state) == (2, "submitted")
    assert stub.steer("counts")["workflows"] == {first.run_id: 1, second.run_id: 1}


# Who asks


@pytest.fixture
def shared(start_stub):
    """KFP with users: runs in the model's own namespace."""
    stub = start_stub("--multi-user")
    stub.steer("tokens", tokens={
        "right": {"user": "system:serviceaccount:trimtab:controller", "audiences": ["pipelines.kubeflow.org"]},
        "wrong": {"user": "system:serviceaccount:trimtab:controller", "audiences": ["https://kubernetes.default.svc"]},
    })  # fmt: skip
    stub.steer("grants", grants=[["system:serviceaccount:trimtab:controller", "shop", "*", "*"]])
    return stub


def test_with_users_a_run_stands_in_the_models_own_namespace(shared, make_kfp, tmp_path):
    token = tmp_path / "token"
    token.write_text("right\n")
    request = request_for()
    launcher_of(make_kfp(shared, token_file=token)).launch(request)
    assert [each["metadata"]["namespace"] for each in shared.workflows(request.run_id, "shop")] == ["shop"]
    _, found = shared("GET", "/experiments", namespace="shop", headers={"authorization": "Bearer right"})
    assert [each["display_name"] for each in found["experiments"]] == ["bikes"]


def test_the_token_is_read_again_for_each_request(shared, make_kfp, tmp_path):
    token = tmp_path / "token"
    launcher, request = launcher_of(make_kfp(shared, token_file=token)), request_for()
    with pytest.raises(Invalid, match=f"found no token for KFP at {token}"):
        launcher.launch(request)
    token.write_text("wrong")
    with pytest.raises(Invalid, match="token audiences"):
        launcher.launch(request)
    token.write_text("right")
    assert launcher.launch(request).phase is RunPhase.PENDING


def test_whoever_has_no_right_there_is_told_so(shared, make_kfp, tmp_path):
    token = tmp_path / "token"
    token.write_text("right")
    with pytest.raises(Invalid, match="is not authorized"):
        KfpLauncher(make_kfp(shared, token_file=token), "other", "bikes").launch(request_for())
