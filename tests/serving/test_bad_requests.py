"""Requests of the client's own fault, sent to a real server: each is 4xx with the reason, and none is the model's."""

import json
import socket
from typing import Any

import pytest

from trimtab.adapters.seldon.application import UNREAD, read_body
from trimtab.serving.answering import MAX_BODY_BYTES
from trimtab.serving.refusal import Refused

pytestmark = pytest.mark.xdist_group("model-server")

ROW: dict[str, Any] = {"carrier": "AA", "origin": "JFK", "distance": 1200, "heat": 21.5, "holiday": False}
NAMES, VALUES = list(ROW), list(ROW.values())
PREDICT = "/api/v1.0/predictions"
INFER = "/v2/models/trips/infer"
JSON = "application/json"


def with_value(name: str, raw: str) -> bytes:
    """A request whose row holds this piece of JSON in that column."""
    cells = [raw if column == name else json.dumps(value) for column, value in ROW.items()]
    return f'{{"data": {{"names": {json.dumps(NAMES)}, "ndarray": [[{", ".join(cells)}]]}}}}'.encode()


def data(**more: Any) -> bytes:
    return json.dumps({"data": more}).encode()


def v2(*inputs: Any) -> bytes:
    return json.dumps({"inputs": list(inputs)}).encode()


def tensor(name: str = "distance", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": "INT64", "data": [1], **more}


# What is sent, and what the answer names: by default to the Seldon path, and 400.
CELLS = {
    "text for a number": ("distance", '"far"', "distance"),
    "a number as text": ("distance", '"1200"', "distance"),
    "a fraction for a whole number": ("distance", "1.5", "distance"),
    "a boolean for a number": ("distance", "true", "distance"),
    "null where it must not be missing": ("distance", "null", "nullable: false"),
    "below the least": ("distance", "-1", "0 to 6000"),
    "above the most": ("distance", "6001", "0 to 6000"),
    "a number of 400 digits": ("distance", "9" * 400, "distance"),
    "a number of 5,000 digits": ("distance", "9" * 5000, "no JSON"),
    "NaN": ("heat", "NaN", "heat"),
    "infinity": ("heat", "Infinity", "heat"),
    "minus infinity": ("heat", "-Infinity", "heat"),
    "a number that overflows": ("heat", "1e999", "heat"),
    "a list for a number": ("heat", "[1]", "heat"),
    "an object for a number": ("heat", '{"value": 1}', "heat"),
    "a category the schema does not list": ("origin", '"LGA"', "EWR, JFK"),
    "a category that is missing": ("origin", "null", "nullable: false"),
    "a category of another case": ("origin", '"jfk"', "origin"),
    "a list for a category": ("origin", '["JFK"]', "origin"),
    "NaN for a category": ("carrier", "NaN", "carrier"),
    "a word for a boolean": ("holiday", '"yes"', "holiday"),
    "a number for a boolean": ("holiday", "2", "holiday"),
    "half of a surrogate pair": ("carrier", '"\\ud800"', "surrogate"),
}
BODIES: dict[str, tuple[bytes, str]] = {
    "an empty body": (b"", "empty"),
    "no JSON": (b"carrier=AA", "no JSON"),
    "half of the JSON": (with_value("heat", "1")[:40], "no JSON"),
    "JSON and something after it": (with_value("heat", "1") + b"}", "no JSON"),
    "bytes that are no UTF-8": (b'{"data": "\xff\xfe"}', "UTF-8"),
    "UTF-16": (with_value("heat", "1").decode().encode("utf-16"), "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + with_value("heat", "1"), "no JSON"),
    "100,000 brackets": (b"[" * 100_000, "deep"),
    "100,000 objects in each other": (b'{"data":' * 100_000 + b"1" + b"}" * 100_000, "deep"),
    "a list": (b"[1, 2]", "object"),
    "a word": (b'"AA"', "object"),
    "null": (b"null", "object"),
    "an object without data": (b"{}", "data"),
    "data that is a list": (b'{"data": [1]}', "data"),
    "binary data": (b'{"binData": "AAAA"}', "binData"),
    "data of neither kind": (data(names=NAMES), "ndarray"),
    "an ndarray that is a word": (data(names=NAMES, ndarray="AA"), "data.ndarray"),
    "no row": (data(names=NAMES, ndarray=[]), "no row"),
    "a row that is an object": (data(names=NAMES, ndarray=[ROW, VALUES]), "data.ndarray"),
    "a row too short": (data(names=NAMES, ndarray=[VALUES, VALUES[:3]]), "row 1"),
    "a row too long": (data(names=NAMES, ndarray=[[*VALUES, 1]]), "row 0"),
    "names that are words no more": (data(names=[1, 2, 3, 4, 5], ndarray=[VALUES]), "data.names"),
    "a name twice": (data(names=["heat"] * 5, ndarray=[VALUES]), "'heat' twice"),
    "a column missing": (data(names=NAMES[1:], ndarray=[VALUES[1:]]), "carrier"),
    "unnamed columns of another number": (data(ndarray=[VALUES[:4]]), "data.names"),
    "a tensor whose shape lies": (data(names=NAMES, tensor={"shape": [1, 5], "values": [1]}), "data.tensor.values"),
    "a tensor without a shape": (data(names=NAMES, tensor={"values": [1]}), "data.tensor.shape"),
    "a tensor of a negative shape": (data(tensor={"shape": [-1, -5], "values": [1] * 5}), "data.tensor.shape"),
    "a tensor that is a list": (data(tensor=[1]), "data.tensor"),
    "jsonData that is a number": (b'{"jsonData": 5}', "jsonData"),
    "jsonData with a row that is a list": (b'{"jsonData": [[1]]}', "jsonData"),
    "jsonData with a row that lacks a column": (json.dumps({"jsonData": [ROW, {"heat": 1}]}).encode(), "row 1 lacks"),
    "jsonData of columns of unequal length": (b'{"jsonData": {"heat": [1, 2], "distance": [1]}}', "distance"),
    "a key that is a list": (json.dumps({"jsonData": [{**ROW, "trip": [1]}]}).encode(), "trip"),
}
V2: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", "object"),
    "no inputs": (b"{}", "inputs"),
    "an input that is a word": (v2("heat"), "inputs[0]"),
    "an input without a name": (v2(tensor(name=None)), "inputs[0].name"),
    "an unknown datatype": (v2(tensor(datatype="FP65")), "inputs[0].datatype"),
    "a datatype that is a list": (v2(tensor(datatype=["INT64"])), "inputs[0].datatype"),
    "a datatype that is an object": (v2(tensor(datatype={})), "inputs[0].datatype"),
    "a shape that is a number": (v2(tensor(shape=1)), "inputs[0].shape"),
    "a shape of three sizes": (v2(tensor(shape=[1, 1, 1])), "inputs[0].shape"),
    "a shape that lies": (v2(tensor(shape=[3])), "inputs[0].data"),
    "data that is a number": (v2(tensor(data=1)), "inputs[0].data"),
    "data nested three deep": (v2(tensor(data=[[[1]]])), "inputs[0].data"),
    "a column twice": (v2(tensor(), tensor()), "twice"),
    "columns of unequal length": (v2(tensor(), tensor("heat", shape=[2], data=[1, 2])), "inputs[1].shape"),
    "a column missing": (v2(tensor()), "carrier"),
    "a matrix of another width": (v2(tensor(shape=[1, 2], data=[1, 2])), "inputs[0].parameters.names"),
    "no rows": (v2(tensor(shape=[0], data=[])), "no row"),
}
GOOD = with_value("heat", "1")
# Method, path, headers, body, code, and what the answer names.
REQUESTS: dict[str, tuple[str, str, dict[str, str], bytes, int, str]] = {
    "a form": ("POST", PREDICT, {"Content-Type": "application/x-www-form-urlencoded"}, b"json={}", 415, "Content-Type"),
    "a file": ("POST", PREDICT, {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415, "Content-Type"),
    "plain text": ("POST", PREDICT, {"Content-Type": "text/plain"}, GOOD, 415, "Content-Type"),
    "a compressed body": ("POST", PREDICT, {"Content-Encoding": "gzip"}, b"\x1f\x8b", 415, "Content-Encoding"),
    "another method": ("GET", PREDICT, {}, b"", 405, "POST"),
    "another method with a body": ("PUT", PREDICT, {}, GOOD, 405, "POST"),
    "an unknown path": ("POST", "/api/v1.0/predict", {}, GOOD, 404, PREDICT),
    "an unknown path to look at": ("GET", "/nothing", {}, b"", 404, PREDICT),
    "another model": ("POST", "/v2/models/flights/infer", {}, GOOD, 404, INFER),
    "another version": ("POST", "/v2/models/trips/versions/9/infer", {}, GOOD, 404, INFER),
    "health by POST": ("POST", "/v2/health/ready", {}, GOOD, 405, "GET"),
    "a path that climbs": ("GET", "/../../etc/passwd", {}, b"", 404, "no such path"),
    "an id of two words": ("POST", PREDICT, {"Seldon-Puid": "two words"}, GOOD, 400, "Seldon-Puid"),
    "an id of 300 characters": ("POST", PREDICT, {"x-request-id": "x" * 300}, GOOD, 400, "x-request-id"),
    "a body of 9 MB": ("POST", PREDICT, {}, b" " * (9 << 20), 413, "8,388,608"),
    "too many rows": ("POST", PREDICT, {}, data(names=["heat"], ndarray=[[1]] * 10_001), 413, "10,001 rows"),
    "feedback without an id": ("POST", "/api/v1.0/feedback", {}, b'{"reward": 1}', 400, "response.meta.puid"),
    "feedback that is no JSON": ("POST", "/api/v1.0/feedback", {}, b"reward=1", 400, "no JSON"),
}
CASES = [
    *(
        (f"cell: {name}", ("POST", PREDICT, {}, with_value(column, raw), 400, word))
        for name, (column, raw, word) in CELLS.items()
    ),
    *((f"body: {name}", ("POST", PREDICT, {}, body, 400, word)) for name, (body, word) in BODIES.items()),
    *((f"v2: {name}", ("POST", INFER, {}, body, 400, word)) for name, (body, word) in V2.items()),
    *((f"request: {name}", case) for name, case in REQUESTS.items()),
]
RAW = {
    "half a body": (
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{}" % PREDICT.encode(),
        400,
        "ends after 2 of 500",
    ),
    "a length that is no number": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, "no HTTP"),
    "a length below nought": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "no HTTP"),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "no HTTP"),
    "a header of 100 kB": (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431, "no HTTP"),
    "a chunk of no size": (
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % PREDICT.encode(),
        400,
        "cannot be read",
    ),
}


@pytest.fixture(scope="module")
def server(deployed: Any) -> Any:
    return deployed.server


def metric(server: Any, name: str) -> float:
    text = server.ask("GET", "/metrics", port=server.metrics_port)[1]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def still_well(server: Any) -> bool:
    return server.ask("POST", PREDICT, GOOD)[0] == 200 and metric(server, "trimtab_model_failures_total") == 0


def test_there_are_sixty_of_them_and_more() -> None:
    assert len(CASES) + len(RAW) >= 60


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_a_bad_request_is_4xx_with_the_reason_and_no_fault_of_the_model(server, case):
    method, path, headers, body, code, word = case
    status, answer, found = server.ask(method, path, body, headers)
    assert (status, found["content-type"]) == (code, "application/json")
    told = answer["error"] if path.startswith("/v2") else answer["status"]["info"]
    assert word in told
    assert still_well(server)


@pytest.mark.parametrize("case", RAW.values(), ids=RAW)
def test_what_is_no_whole_request_is_4xx_with_the_reason_too(server, case):
    sent, code, word = case
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == code
    assert word in json.loads(body)["status"]["info"]
    assert still_well(server)


def test_a_body_that_stops_coming_is_given_up() -> None:
    class Stalled:
        def read(self, size: int) -> bytes:
            raise TimeoutError

    with pytest.raises(Refused, match="in time") as refused:
        read_body({"CONTENT_LENGTH": "5", "wsgi.input": Stalled()})
    assert refused.value.code == 408


def test_a_body_without_a_length_is_read_no_further_than_allowed() -> None:
    class Endless:
        def read(self, size: int) -> bytes:
            return b" " * size

    environ = {"wsgi.input": Endless()}
    with pytest.raises(Refused) as refused:
        read_body(environ)
    assert refused.value.code == 413
    assert environ[UNREAD]
    assert MAX_BODY_BYTES < 10 << 20
