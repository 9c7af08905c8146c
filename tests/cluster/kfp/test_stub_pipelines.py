"""The stub against the tables of what the real API server was seen to answer: pipelines and recurring runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

SPEC = {
    "components": {},
    "deploymentSpec": {"executors": {}},
    "pipelineInfo": {"name": "tiny"},
    "root": {"dag": {"tasks": {}}},
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
}


def test_an_upload_makes_a_pipeline_and_its_first_version(stub):
    pipeline = stub.upload("upload", SPEC, description="d", tags='{"team":"a"}').json()
    assert set(pipeline) == {"pipeline_id", "display_name", "name", "description", "created_at", "tags"}
    _, versions = stub("GET", f"/pipelines/{pipeline['pipeline_id']}/versions")
    assert [(each["name"], each["pipeline_spec"]) for each in versions["pipeline_versions"]] == [("tiny", SPEC)]
    assert stub("GET", "/pipelines/names/tiny")[1]["pipeline_id"] == pipeline["pipeline_id"]
    reference = {"pipeline_id": pipeline["pipeline_id"]}
    _, run = stub("POST", "/runs", {"display_name": "r", "pipeline_version_reference": reference})
    newest = versions["pipeline_versions"][0]["pipeline_version_id"]
    assert run["pipeline_version_reference"]["pipeline_version_id"] == newest


def test_uploads_refuse_in_their_own_shape(stub):
    pipeline = stub.upload("upload", SPEC, name="p").json()
    again = stub.upload("upload", SPEC, name="P")
    assert (again.status_code, again.json()["error_message"]) == (
        409,
        "Failed to create a pipeline and a pipeline version",
    )
    assert "goroutine" in again.json()["error_details"]
    version = stub.upload("upload_version", SPEC, name="p", pipelineid=pipeline["pipeline_id"])
    assert (version.status_code, version.json()["error_message"]) == (409, "Failed to create a pipeline version")
    assert stub.upload("upload_version", SPEC, name="v").status_code == 400
    wrong = stub.upload("upload", {**SPEC, "schemaVersion": "2.0.0"}, name="q")
    assert (wrong.status_code, wrong.json()["error_message"]) == (400, "unknown template format")
    long = stub.upload("upload", SPEC, name="x" * 129)
    assert (long.status_code, long.text) == (400, "Invalid input error: Pipeline.Name length cannot exceed 128")
    status, error = stub("POST", "/pipelines", {"name": "p"})
    assert (status, error["code"]) == (409, 6)


def test_a_pipeline_with_versions_is_deleted_only_with_them(stub):
    pipeline = stub.upload("upload", SPEC, name="p").json()["pipeline_id"]
    status, error = stub("DELETE", f"/pipelines/{pipeline}")
    assert (status, "Set cascade=true to delete all versions" in error["message"]) == (400, True)
    assert stub("DELETE", f"/pipelines/{pipeline}", cascade="true") == (200, {})


# Recurring runs


def recurring(stub, cron: str = "0 0 9 ? * 2-6", **more) -> tuple[int, dict]:
    body = {
        "display_name": "Every Day",
        "pipeline_spec": SPEC,
        "max_concurrency": "3",
        "trigger": {"cron_schedule": {"cron": cron}},
        "mode": "ENABLE",
        **more,
    }
    return stub("POST", "/recurringruns", body)


def test_a_recurring_run_as_it_is_answered_and_listed(stub):
    status, job = recurring(stub, no_catchup=True)
    assert (status, job["max_concurrency"], job["mode"], job["status"]) == (200, "3", "ENABLE", "ENABLED")
    assert (job["no_catchup"], job["namespace"]) == (True, "kubeflow")
    assert "no_catchup" not in recurring(stub)[1]
    assert len(stub("GET", "/recurringruns")[1]["recurringRuns"]) == 2  # the one list in camelCase
    path = f"/recurringruns/{job['recurring_run_id']}"
    for action, mode in (("disable", "DISABLE"), ("disable", "DISABLE"), ("enable", "ENABLE")):
        assert stub("POST", f"{path}:{action}") == (200, {})
        assert stub("GET", path)[1]["mode"] == mode
    assert stub("PATCH", path, {})[0] == 501
    assert stub("DELETE", path) == (200, {})
    status, error = stub("DELETE", path)
    assert (status, error["details"][0]["message"]) == (404, f"Job {job['recurring_run_id']} not found")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cron": "0 0 9 ? * 2-6 1"}, "Error: Expected 5 to 6 fields, found 7: 0 0 9 ? * 2-6 1"),
        ({"cron": "0 99 9 * * *"}, "Error: End of range (99) above maximum (59): 99"),
        ({"max_concurrency": 11}, "Max concurrency of a recurring run must be at least 1 and at most 10. Received 11"),
        (
            {"trigger": {"periodic_schedule": {"interval_second": -5}}},
            "Found invalid period schedule interval -5. Set at interval to least 1 second",
        ),
    ],
)
def test_schedules_that_are_refused(stub, change, text):
    status, error = recurring(stub, **change)
    assert (status, error["code"], text in error["message"]) == (400, 3, True)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * *", "17:09:00"),  # five fields: the first is the second, so this is hourly
        ("0 0 9 * * *", "09:00:00"),
        ("@every 1h", "18:08:30"),
        ("@daily", "00:00:00"),
        ("*/15 10,20 17-18 ? jan mon-fri", "17:10:00"),
    ],
)
def test_cron_is_read_with_seconds_first(stub, cron, expected):
    _, job = recurring(stub, cron)
    at = datetime(2026, 1, 30, 17, 8, 30, tzinfo=UTC).timestamp()
    found = stub.steer("next", recurring_run_id=job["recurring_run_id"], at=at)["next"]
    assert datetime.fromisoformat(found).strftime("%H:%M:%S") == expected


def test_a_recurring_runs_run_appears_when_it_is_reported(stub):
    _, job = recurring(stub)
    fired = stub.steer("fire", recurring_run_id=job["recurring_run_id"])
    assert stub("GET", f"/runs/{fired['run_id']}")[0] == 404
    stub.report(fired["run_id"], "Running")
    _, run = stub("GET", f"/runs/{fired['run_id']}")
    assert (run["display_name"], run["recurring_run_id"]) == (fired["name"], job["recurring_run_id"])
    assert fired["name"].startswith("everyday")
    assert fired["name"].split("-")[1] == "1"


def test_a_recurring_run_of_a_pipelines_latest_version_shows_at_once(stub):
    pipeline = stub.upload("upload", SPEC, name="p").json()["pipeline_id"]
    _, job = recurring(stub, pipeline_spec=None, pipeline_version_reference={"pipeline_id": pipeline})
    fired = stub.steer("fire", recurring_run_id=job["recurring_run_id"])
    assert stub("GET", f"/runs/{fired['run_id']}")[1]["display_name"] == fired["name"]


def test_a_repeat_for_a_recurring_run_is_the_same_run(stub):
    _, job = recurring(stub)
    body = {"display_name": "r", "pipeline_spec": SPEC, "recurring_run_id": job["recurring_run_id"]}
    _, first = stub("POST", "/runs", body)
    _, second = stub("POST", "/runs", body)
    assert first["run_id"] == second["run_id"]
    assert stub.steer("counts")["workflows"] == {first["run_id"]: 1}
    assert stub("POST", "/runs", {**body, "recurring_run_id": "zzz"})[0] == 500
