"""The stub against the tables of what the real API server was seen to answer: wire, runs, lists, experiments."""

from __future__ import annotations

import json
import threading
import uuid

import pytest

SPEC = {
    "components": {},
    "deploymentSpec": {"executors": {}},
    "pipelineInfo": {"name": "tiny"},
    "root": {
        "dag": {"tasks": {}},
        "inputDefinitions": {
            "parameters": {
                "rows": {"parameterType": "NUMBER_INTEGER"},
                "flag": {"parameterType": "BOOLEAN"},
                "weights": {"parameterType": "STRUCT"},
            }
        },
    },
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
}
NEVER = "1970-01-01T00:00:00Z"


def run_body(**more) -> dict:
    return {"display_name": "run-1", "pipeline_spec": SPEC, **more}


def make_run(stub, **more) -> dict:
    status, run = stub("POST", "/runs", run_body(**more))
    assert status == 200, run
    return run


def names(found: dict, key: str = "runs") -> set[str]:
    return {each["display_name"] for each in found.get(key, [])}


def query(**predicate) -> str:
    return json.dumps({"predicates": [predicate]})


# The wire


def test_a_new_run_is_answered_whole_and_nothing_empty(stub):
    run = make_run(stub, runtime_config={"parameters": {}})
    assert run.pop("run_id")
    assert run.pop("experiment_id")
    assert (run.pop("created_at")[-1], run.pop("scheduled_at")[-1]) == ("Z", "Z")
    (entry,) = run.pop("state_history")
    assert entry["state"] == "PENDING"
    assert run == {
        "display_name": "run-1",
        "storage_state": "AVAILABLE",
        "pipeline_spec": SPEC,
        "service_account": "pipeline-runner",
        "finished_at": NEVER,
        "state": "PENDING",
    }


def test_an_empty_list_is_an_empty_object(stub):
    for path in ("/runs", "/experiments", "/pipelines", "/recurringruns"):
        assert stub("GET", path) == (200, {})


def test_fields_come_in_either_spelling_and_no_other(stub):
    status, run = stub("POST", "/runs", {"displayName": "a", "pipelineSpec": SPEC, "serviceAccount": "me"})
    assert (status, run["display_name"], run["service_account"]) == (200, "a", "me")
    status, error = stub("POST", "/runs", run_body(foo=1))
    assert (status, error["code"]) == (400, 3)
    assert error["message"].endswith('unknown field "foo"')
    assert stub("POST", "/runs", "{") == (400, {"code": 3, "message": "unexpected EOF"})


def test_paths_and_methods_that_are_not_there(stub):
    assert stub("GET", "/nothing") == (404, {"code": 5, "message": "Not Found"})
    assert stub("PUT", "/runs") == (501, {"code": 12, "message": "Method Not Allowed"})
    status, error = stub("GET", "/runs/zzz")
    assert (status, error["code"], error["details"][0]["message"]) == (404, 5, "Run zzz not found")


def test_health_needs_nobody(stub, start_stub):
    assert stub("GET", "/healthz")[1]["multi_user"] is False
    found = start_stub("--multi-user")("GET", "/healthz")[1]
    assert (found["multi_user"], found["tag_name"], found["pipeline_store"]) == (True, "2.17.0", "database")


# Refused runs


@pytest.mark.parametrize(
    ("change", "status", "code", "text"),
    [
        ({"pipeline_spec": None}, 500, 13, "empty pipeline spec manifest"),
        ({"pipeline_spec": {}}, 500, 13, "unknown template format: pipeline spec is invalid"),
        ({"pipeline_spec": {**SPEC, "x": 1}}, 500, 13, "unknown template format: pipeline spec is invalid"),
        ({"pipeline_spec": {**SPEC, "schemaVersion": "2.0.0"}}, 500, 13, "the pipeline spec has version 2.0.0"),
        (
            {"pipeline_spec": None, "pipeline_version_reference": {"pipeline_id": "x", "pipeline_version_id": "yy"}},
            *(500, 13, "ResourceNotFoundError: PipelineVersion yy not found"),
        ),
        ({"display_name": ""}, 500, 13, "Run name cannot be empty"),
        ({"runtime_config": {"parameters": {"zzz": 1}}}, 400, 3, "not required by pipeline: zzz"),
        ({"runtime_config": {"parameters": {"rows": "5"}}}, 400, 3, "requires type double or integer"),
        ({"runtime_config": {"parameters": {"flag": 1}}}, 400, 3, "requires type bool"),
        ({"experiment_id": "zzz"}, 404, 5, "Experiment zzz not found"),
        ({"run_id": "x" * 70}, 500, 13, "must be no more than 63 characters"),
        ({"pipeline_version_reference": {"pipeline_id": "x"}}, 400, 3, "oneof pipeline_source is already set"),
    ],
)
def test_a_refused_run_leaves_nothing(stub, change, status, code, text):
    body = {name: value for name, value in run_body(**change).items() if value is not None}
    found, error = stub("POST", "/runs", body)
    assert (found, error["code"]) == (status, code)
    assert text in error["message"]
    if code == 13:
        assert error["details"][0]["message"] == "Internal Server Error"
    assert stub.steer("counts")["workflows"] == {}


def test_a_number_with_a_fraction_is_taken_for_an_integer_and_a_missing_one_is_not_missed(stub):
    make_run(stub, runtime_config={"parameters": {"rows": 1.5}})


def test_a_name_too_long_leaves_a_workflow_without_a_run(stub):
    status, error = stub("POST", "/runs", run_body(display_name="x" * 300, run_id="long"))
    assert (status, "Data too long for column 'DisplayName'" in error["message"]) == (500, True)
    assert len(stub.workflows("long")) == 1
    assert stub("GET", "/runs/long")[0] == 404


# Idempotency


def test_names_may_repeat_and_ids_may_not(stub):
    assert make_run(stub)["run_id"] != make_run(stub)["run_id"]
    assert make_run(stub, run_id="my-own-id")["run_id"] == "my-own-id"
    status, error = stub("POST", "/runs", run_body(run_id="my-own-id"))
    assert (status, "Duplicate entry 'my-own-id' for key 'PRIMARY'" in error["message"]) == (500, True)
    assert len(stub.workflows("my-own-id")) == 2  # and both would execute


def test_six_posts_at_once_make_one_run_and_six_workflows(stub):
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(stub("POST", "/runs", run_body(run_id="one"))[0]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 500, 500, 500, 500, 500]
    assert len(stub.workflows("one")) == 6


def test_what_a_stray_workflow_reports_changes_a_run_that_had_ended(stub):
    make_run(stub, run_id="r")
    stub("POST", "/runs", run_body(run_id="r"))
    stub.report("r", "Succeeded")
    stub.report("r", "", which=1)
    assert "state" not in stub("GET", "/runs/r")[1]
    stub.report("r", "Failed", which=1)
    _, run = stub("GET", "/runs/r")
    assert run["state"] == "FAILED"
    assert [each.get("state") for each in run["state_history"]] == ["PENDING", "SUCCEEDED", None, "FAILED"]


# States


def test_only_a_report_moves_a_run(stub):
    make_run(stub, run_id="r")
    stub.steer("phase", run_id="r", phase="Running")
    assert stub("GET", "/runs/r")[1]["state"] == "PENDING"
    (workflow,) = stub.workflows("r")
    assert stub("POST", "/workflows", json.dumps(json.dumps(workflow))) == (200, {})
    _, run = stub("GET", "/runs/r")
    assert run["state"] == "RUNNING"
    assert run["run_details"]["task_details"][0]["display_name"].startswith("tiny-")


def test_a_report_after_the_final_one_deletes_the_workflow(stub):
    make_run(stub, run_id="r")
    stub.report("r", "Succeeded")
    (workflow,) = stub.workflows("r")
    assert workflow["metadata"]["labels"]["pipeline/persistedFinalState"] == "true"
    assert stub("POST", "/workflows", json.dumps(json.dumps(workflow)))[0] == 404
    assert stub.workflows("r") == []


def test_a_terminated_run_is_canceling_until_it_is_failed(stub):
    make_run(stub, run_id="r")
    assert stub("POST", "/runs/r:terminate") == (200, {})
    assert stub("GET", "/runs/r")[1]["state"] == "CANCELING"
    assert stub.workflows("r")[0]["spec"]["activeDeadlineSeconds"] == 0
    status, error = stub("POST", "/runs/r:terminate")
    assert (status, "Row not found" in error["message"]) == (400, True)
    stub.report("r", "Running")
    assert stub("GET", "/runs/r")[1]["state"] == "CANCELING"
    stub.report("r", "Failed")
    assert stub("GET", "/runs/r")[1]["state"] == "FAILED"


def test_a_run_whose_workflow_is_gone_hangs_in_canceling(stub):
    make_run(stub, run_id="r")
    stub.steer("forget-workflows", run_id="r")
    assert stub("POST", "/runs/r:terminate")[0] == 500
    assert stub("GET", "/runs/r")[1]["state"] == "CANCELING"
    assert stub("POST", "/runs/r:terminate")[0] == 400


def test_archived_runs_are_listed_and_retry_is_for_failed_ones(stub):
    make_run(stub, run_id="r")
    stub.report("r", "Succeeded")
    assert stub("POST", "/runs/r:archive") == (200, {})
    assert [each["storage_state"] for each in stub("GET", "/runs")[1]["runs"]] == ["ARCHIVED"]
    status, error = stub("POST", "/runs/r:retry")
    assert (status, error["code"]) == (409, 10)
    assert stub("DELETE", "/runs/r") == (200, {})
    assert stub.workflows("r") == []


# Lists


NAMES = ("run-1", "run_2", "a+b", "a%b", "trail ")


@pytest.fixture
def named(stub):
    for name in NAMES:
        make_run(stub, display_name=name, run_id=str(uuid.uuid4()))
    return stub


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text)


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ({"operation": "EQUALS", "key": "display_name", "string_value": "RUN-1"}, {"run-1"}),
        ({"operation": 1, "key": "name", "stringValue": "trail"}, {"trail "}),
        ({"operation": "IS_SUBSTRING", "key": "name", "string_value": "run_"}, {"run-1", "run_2"}),
        ({"operation": 8, "key": "name", "string_values": {"values": ["run-1", "a+b"]}}, {"run-1", "a+b"}),
        ({"operation": "EQUALS", "key": "name", "string_value": "a%b"}, {"a%b"}),
        ({"operation": 2, "key": "storage_state", "string_value": "AVAILABLE"}, set()),
        ({"operation": "GREATER_THAN", "key": "created_at", "timestamp_value": NEVER}, set(NAMES)),
    ],
)
def test_filters_find_what_the_database_would(named, predicate, expected):
    status, found = named("GET", "/runs", filter=quoted(query(**predicate)))
    assert (status, names(found)) == (200, expected)


def test_a_filter_is_decoded_twice(named):
    plain = query(operation="EQUALS", key="name", string_value="a+b")
    assert named("GET", "/runs", filter=plain) == (200, {})
    status, error = named("GET", "/runs", filter=query(operation="EQUALS", key="name", string_value="a%b"))
    assert (status, "invalid URL escape" in error["message"]) == (400, True)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"filter": query(operation="EQUALS", key="labels", string_value="x")}, 'unrecognized field "labels"'),
        ({"filter": "nonsense"}, "failed to parse valid filter from"),
        ({"filter": query(operation="IN", key="name", string_value="x")}, "cannot use IN operator with scalar"),
        ({"sort_by": "foo"}, 'Invalid sorting field: "foo" on listable type Run'),
        ({"sort_by": "name down"}, 'Received invalid sort by format "name down"'),
        ({"page_size": -1}, "The page size should be greater than 0. Got -1"),
        ({"page_token": "abc"}, "Invalid page token"),
    ],
)
def test_lists_that_are_refused(named, parameters, text):
    status, error = named("GET", "/runs", **parameters)
    assert (status, error["code"], text in error["message"]) == (400, 3, True)


def test_pages_hold_twenty_and_their_token_belongs_to_one_order(stub):
    for number in range(25):
        make_run(stub, display_name=f"run-{number:02}")
    _, first = stub("GET", "/runs", sort_by="name desc")
    assert (len(first["runs"]), first["total_size"]) == (20, 25)
    _, rest = stub("GET", "/runs", page_token=first["next_page_token"])
    assert [each["display_name"] for each in rest["runs"]] == [f"run-{number:02}" for number in range(4, -1, -1)]
    assert "next_page_token" not in rest
    status, error = stub("GET", "/runs", page_token=first["next_page_token"], sort_by="name")
    assert (status, "page token does not match" in error["message"]) == (400, True)


# Experiments


def test_experiments_are_unique_by_name_without_case_and_archive_their_runs(stub):
    _, experiment = stub("POST", "/experiments", {"display_name": "exp-a"})
    assert experiment["last_run_created_at"] == NEVER
    status, error = stub("POST", "/experiments", {"display_name": "Exp-A"})
    assert (status, error["code"]) == (409, 6)
    assert error["details"][0]["message"] == "The name Exp-A already exists. Please specify a new name"
    run = make_run(stub, experiment_id=experiment["experiment_id"])
    stub("POST", f"/experiments/{experiment['experiment_id']}:archive")
    assert stub("GET", f"/runs/{run['run_id']}")[1]["storage_state"] == "ARCHIVED"
    make_run(stub, experiment_id=experiment["experiment_id"])
    stub("DELETE", f"/experiments/{experiment['experiment_id']}")
    assert stub("GET", f"/runs/{run['run_id']}")[0] == 200
    assert stub("GET", "/runs", experiment_id=experiment["experiment_id"])[0] == 404


# Users


BEARER = {"authorization": "Bearer good"}


@pytest.fixture
def shared(start_stub):
    stub = start_stub("--multi-user")
    tokens = {"good": "pipelines.kubeflow.org", "other": "https://kubernetes.default.svc"}
    stub.steer("tokens", tokens={name: {"user": "ann", "audiences": [each]} for name, each in tokens.items()})
    stub.steer("grants", grants=[["ann", "team-a", "*", "*"]])
    return stub


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "User identity is empty in the request header"),
        ({"authorization": "Basic x"}, "User identity is empty in the request header"),
        ({"authorization": "Bearer junk"}, "Error invalid bearer token"),
        ({"authorization": "Bearer other"}, 'token audiences ["https://kubernetes.default.svc"] is invalid for'),
    ],
)
def test_nobody_is_told_401(shared, headers, text):
    status, error = shared("GET", "/runs", namespace="team-a", headers=headers)
    assert (status, error["code"]) == (401, 16)
    assert text in error["details"][0]["message"]


def test_users_need_rights_a_namespace_and_an_experiment(shared):
    assert shared("GET", "/runs", namespace="team-a", headers=BEARER) == (200, {})
    assert shared("GET", "/runs", namespace="team-a", headers={"kubeflow-userid": "ann"}) == (200, {})
    status, error = shared("GET", "/runs", namespace="team-b", headers=BEARER)
    assert (status, error["code"]) == (403, 7)
    assert "Namespace:team-b,Verb:list,Group:pipelines.kubeflow.org,Version:v1beta1,Resource:runs" in error["message"]
    assert "cannot have an empty namespace" in shared("GET", "/runs", headers=BEARER)[1]["message"]
    assert "Experiment id can not be empty" in shared("POST", "/runs", run_body(), headers=BEARER)[1]["message"]
    assert shared("GET", "/runs/zzz")[0] == 404  # looked up before anybody is asked for a name


def test_with_one_user_tokens_and_namespaces_are_not_looked_at(stub):
    make_run(stub)
    _, found = stub("GET", "/runs", namespace="anywhere", headers={"authorization": "Bearer junk"})
    assert len(found["runs"]) == 1


def test_a_refused_upload_is_400_and_what_all_share_is_taken_from_anybody(shared):
    refused = shared.upload("upload", SPEC, name="p", namespace="team-a")
    assert (refused.status_code, refused.json()["error_message"]) == (400, "Failed to create a pipeline")
    assert shared.upload("upload", SPEC, name="p").status_code == 200
