"""
From a request's body to the answer's, in one go: read, check, predict, write, log.

What the client did wrong is 4xx with the field; what the model does wrong is 500, with a line in the log. The line of
an answer is on the disk before the answer leaves.
"""

from __future__ import annotations

import gc
import json
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trimtab.serving import seldon_payload, v2_payload
from trimtab.serving.meters import Meters
from trimtab.serving.refusal import Refused
from trimtab.serving.schema import Checked
from trimtab.serving.served import Predicted, Served
from trimtab.serving.table import Table

MAX_BODY_BYTES = 8 << 20
LONG_BODY = 1 << 18
ERROR_LENGTH = 500  # characters of a model's error that answer and log repeat
ID = re.compile(r"[\x21-\x7e]{1,200}")

Protocol = Literal["seldon", "v2"]
Append = Callable[[Sequence[bytes]], None]

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(slots=True)
class Asked:
    """A request as it came: its id, the wall time, and whether it is a copy whose answer nobody sees."""

    id: str
    shadow: bool = False
    at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: its code and its body, as JSON."""

    code: int
    body: bytes


def request_id(puid: str | None, x_request_id: str | None) -> str:
    """
    Seldon's id, else the router's, else one of our own.

    Raises:
        Refused: If the one that came cannot stand in a log.
    """
    for name, value in (("Seldon-Puid", puid), ("x-request-id", x_request_id)):
        if value:
            if ID.fullmatch(value) is None:
                raise Refused(name, "an id has at most 200 visible ASCII characters")
            return value
    return uuid.uuid4().hex


def is_shadow(host: str | None) -> bool:
    """
    Whether the router marked the request as a mirrored one, by the end of its host's name.

    >>> is_shadow("models:8080-shadow"), is_shadow("models-shadow:8080"), is_shadow("models:8080"), is_shadow(None)
    (True, True, False, False)
    """
    return host is not None and (host.endswith("-shadow") or host.partition(":")[0].endswith("-shadow"))


def parse(body: bytes) -> Any:
    """
    The JSON of a body; NaN and infinity are read here, and refused with their column's name where they stand in one.

    Raises:
        Refused: If it is none.
    """
    if not body:
        raise Refused("", "the body is empty; it must be JSON")
    try:
        message = _loaded(body.decode())
        if b"\\u" in body:
            json.dumps(message, ensure_ascii=False).encode()
    except RecursionError:
        raise Refused("", "the body's JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Refused("", f"the body is not UTF-8: byte {error.start}") from None
    except UnicodeEncodeError:
        raise Refused("", "a string of the body holds half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise Refused("", f"the body is no JSON: {error.msg} at character {error.pos} of {len(body)}") from None
    except ValueError as error:
        raise Refused("", f"the body is no JSON that can be read: {error}") from None
    return message


def _loaded(text: str) -> Any:
    """
    As `json.loads`, without the collector where the text may hold many lists.

    It would look at a million of them again and again while they are made, ten times as long as making them takes,
    and every other request would wait.
    """
    if len(text) < LONG_BODY or not gc.isenabled():
        return json.loads(text)
    gc.disable()
    try:
        return json.loads(text)
    finally:
        gc.enable()


class Answering:
    """
    What a server and Seldon's own wrapper share.

    Args:
        served: The version.
        append: Takes lines of the prediction log; it never raises. None where predictions are not logged.
        meters: Counts requests.
    """

    def __init__(self, served: Served, append: Append | None, meters: Meters) -> None:
        self.served = served
        self._append = append
        self._meters = meters
        self._tags = {"version": served.version, "variant": served.variant}

    def predict(self, message: Callable[[], Any], asked: Asked, protocol: Protocol = "seldon") -> Reply:
        """
        The answer to one request, whatever it holds; never raises.

        Args:
            message: Gives the body's JSON, or raises Refused.
        """
        if asked.shadow:
            self._meters.add("shadow_requests")
        try:
            given = message()
            checked = self.served.schema.check(self._table(given, protocol))
        except Refused as refused:
            return self.refuse(refused, asked, protocol)
        try:
            said = self.served.predict(checked)
            body = _encode(self._write(given, said, asked, protocol)).encode()
        except Exception as error:
            return self._fail(error, checked, asked, protocol)
        seconds = asked.seconds
        self._log(asked, seconds, checked, predictions=said.values, scores=said.scores)
        self._meters.answered(200, seconds, checked.rows, checked.unknown)
        return Reply(200, body)

    def feedback(self, message: Callable[[], Any], asked: Asked) -> Reply:
        """Seldon's feedback: one label a row of `truth`, else the reward, 0 too; joined by the answer's `meta.puid`."""
        try:
            labels = self._labels(message(), asked)
        except Refused as refused:
            return self.refuse(refused, asked, "seldon", counted=False)
        if self._append is None:
            lost = Refused("", "this server keeps no prediction log, so a label would be lost", 503)
            return self.refuse(lost, asked, "seldon", counted=False)
        self._append([_encode(label).encode() + b"\n" for label in labels])
        self._meters.add("labels", len(labels))
        return Reply(200, _encode({"meta": self._meta(asked)}).encode())

    def refuse(self, refused: Refused, asked: Asked, protocol: Protocol, counted: bool = True) -> Reply:
        """The answer to a request that cannot be answered."""
        if counted:
            self._meters.answered(refused.code, asked.seconds)
        return self._error(refused.code, str(refused), asked, protocol)

    def _table(self, given: Any, protocol: Protocol) -> Table:
        schema = self.served.schema
        if protocol == "v2":
            return v2_payload.read(given, schema.features)
        return seldon_payload.read(given, schema.features, schema.known)

    def _write(self, given: Any, said: Predicted, asked: Asked, protocol: Protocol) -> dict[str, Any]:
        schema, served = self.served.schema, self.served
        if protocol == "v2":
            own = given.get("id")
            name = own if type(own) is str else asked.id
            parameters = {"variant": served.variant, "classes": list(schema.classes)}
            target = (schema.target, schema.target_type)
            return v2_payload.write(served.name, served.version, name, target, said.values, said.scores, parameters)
        form = "jsonData" if "jsonData" in given else "tensor" if "tensor" in given["data"] else "ndarray"
        return seldon_payload.write(form, self._meta(asked), schema.target, schema.classes, said.values, said.scores)

    def _meta(self, asked: Asked) -> dict[str, Any]:
        return {"puid": asked.id, "tags": self._tags}

    def _fail(self, error: Exception, checked: Checked, asked: Asked, protocol: Protocol) -> Reply:
        """The model's own fault: counted against it, and kept with what it was asked."""
        text = f"{type(error).__name__}: {error}".replace("\n", " ")[:ERROR_LENGTH]
        text = text.encode("utf-8", "replace").decode()
        seconds = asked.seconds
        self._log(asked, seconds, checked, kind="failure", error=text)
        self._meters.answered(500, seconds)
        self._meters.add("model_failures")
        return self._error(500, text, asked, protocol)

    def _error(self, code: int, text: str, asked: Asked, protocol: Protocol) -> Reply:
        if protocol == "v2":
            return Reply(code, _encode({"error": text, "id": asked.id}).encode())
        return Reply(code, _encode(seldon_payload.failure(code, text, self._meta(asked))).encode())

    def _log(self, asked: Asked, seconds: float, checked: Checked, **more: Any) -> None:
        """One line as `core.predictions.PredictionLine` has it; written by hand, for it is on every request's way."""
        if self._append is None:
            return
        line = {
            "kind": "prediction",
            "id": asked.id,
            "at": asked.at,
            "version": self.served.version,
            "shadow": asked.shadow,
            "seconds": seconds,
            "rows": checked.rows,
            "features": checked.logged,
            "passed": checked.passed,
            "unknown": checked.unknown,
            **more,
        }
        self._append([_encode(line).encode() + b"\n"])

    def _labels(self, given: Any, asked: Asked) -> list[dict[str, Any]]:
        if type(given) is not dict:
            raise Refused("", "the body must be a JSON object with response.meta.puid and truth or reward")
        request = _puid(given, "response") or _puid(given, "request")
        if request is None:
            raise Refused("response.meta.puid", "it is missing; it names the prediction that the feedback is about")
        schema = self.served.schema
        values = _truth(given.get("truth"))
        if values is not None:
            labels = [schema.label(value, f"truth, row {row}") for row, value in enumerate(values)]
        elif type(given.get("reward")) in (int, float):
            labels = [schema.label(given["reward"], "reward")]
        else:
            raise Refused("truth", "found neither truth nor reward; one of them is the label")
        return [
            {"kind": "label", "id": request, "row": row, "value": value, "at": asked.at, "received": asked.at}
            for row, value in enumerate(labels)
        ]


def _puid(given: dict[str, Any], part: str) -> str | None:
    inner = given.get(part)
    meta = inner.get("meta") if type(inner) is dict else None
    puid = meta.get("puid") if type(meta) is dict else None
    if puid is None or puid == "":
        return None
    if type(puid) is not str or ID.fullmatch(puid) is None:
        raise Refused(f"{part}.meta.puid", "an id has at most 200 visible ASCII characters")
    return puid


def _truth(truth: Any) -> list[Any] | None:
    """One value a row, of `data.ndarray`, `data.tensor` or `jsonData`; None where there is none."""
    if truth is None:
        return None
    if type(truth) is not dict:
        raise Refused("truth", 'it must be a message such as {"data": {"ndarray": [[…]]}}')
    data = truth.get("data")
    values = truth.get("jsonData")
    if type(data) is dict:
        tensor = data.get("tensor")
        values = data.get("ndarray", tensor.get("values") if type(tensor) is dict else None)
    if values is None:
        return None
    if type(values) is not list or not values:
        raise Refused("truth", "it must hold a list with one value a row")
    return [value[0] if type(value) is list and len(value) == 1 else value for value in values]
