"""The same model class under Seldon's own wrapper, as a cluster runs it: REST and gRPC messages, in a real process."""

import json
import os
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("model-server")

# What `seldon-core-microservice` does between its arguments and its sockets, which would bind every interface.
PROGRAM = """
import json, sys
from seldon_core.metrics import SeldonMetrics
from seldon_core.proto import prediction_pb2
from seldon_core.seldon_methods import predict
from seldon_core.utils import json_to_seldon_message, seldon_message_to_json
from seldon_core.wrapper import get_rest_microservice
from trimtab.adapters.seldon.model import TrimtabModel

asked = json.loads(sys.stdin.read())
model = TrimtabModel(**asked["parameters"])
metrics = SeldonMetrics()
app = get_rest_microservice(model, metrics)
model.load()
client = app.test_client()
told = {}
for name, (path, body, headers) in asked["requests"].items():
    answer = client.post(path, json=body, headers=headers) if body is not None else client.get(path)
    told[name] = (answer.status_code, answer.get_json(silent=True))
message = json_to_seldon_message(asked["requests"]["good"][1])
told["grpc"] = (200, seldon_message_to_json(predict(model, message, metrics)))
model.close()
print("TOLD" + json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(deployed: Any, serving_python: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    row = {"carrier": "AA", "origin": "JFK", "distance": 1200, "heat": 21.5, "holiday": False}
    good = {"data": {"names": list(row), "ndarray": [list(row.values())]}}
    bad = {"data": {"names": list(row), "ndarray": [["AA", "JFK", "far", 1, False]]}}
    feedback = {"response": {"meta": {"puid": "stock-1"}}, "reward": 0}
    requests = {
        "good": ("/api/v1.0/predictions", good, {"Seldon-Puid": "stock-1"}),
        "bad": ("/api/v1.0/predictions", bad, {}),
        "feedback": ("/api/v1.0/feedback", feedback, {}),
        "health": ("/health/status", None, {}),
        "metadata": ("/metadata", None, {}),
    }
    # In a cluster the graph's node says which model and version.
    asked = {"parameters": {"model": "trips", "version": 1}, "requests": requests}
    own = {
        "TRIMTAB_STATE_BUCKET": deployed.state.bucket.name,
        "TRIMTAB_LOG_FOLDER": str(tmp_path_factory.mktemp("log")),
        "TRIMTAB_CACHE": str(tmp_path_factory.mktemp("cache")),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
    ended = subprocess.run(
        [str(serving_python), "-P", "-c", PROGRAM],
        input=json.dumps(asked),
        env={**kept, **deployed.variables, **own},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.partition("TOLD")[2])
    return found


def test_the_wrapper_answers_as_our_server_does(told, deployed, row):
    ours = deployed.server.predict({"data": {"names": list(row), "ndarray": [list(row.values())]}})[1]
    code, answer = told["good"]
    assert code == 200
    assert answer["data"] == ours["data"]
    assert (answer["meta"]["puid"], answer["meta"]["tags"]) == ("stock-1", ours["meta"]["tags"])


def test_a_grpc_message_is_answered_by_one(told):
    grpc, rest = told["grpc"][1]["data"], told["good"][1]["data"]
    assert (grpc["names"], grpc["ndarray"]) == (rest["names"], rest["ndarray"])


def test_a_bad_field_is_400_and_not_the_models_fault(told):
    code, answer = told["bad"]
    assert code == 400
    assert "distance" in answer["status"]["info"]


def test_health_and_metadata_are_known(told):
    assert told["health"][0] == 200
    assert told["metadata"][1]["versions"] == ["v1"]


def test_its_log_and_its_feedback_come_to_the_store(told, deployed):
    assert told["feedback"][0] == 200
    lines = deployed.wait_for_lines(lambda line: line["id"] == "stock-1", 2)
    assert {line["kind"] for line in lines} == {"prediction", "label"}
