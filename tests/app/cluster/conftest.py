"""A cluster in memory: the API server as `adapters.kubernetes.api.Api` words it, and a controller's parts around it."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import Kind
from trimtab.core.errors import Conflict, NotFound

Object = dict[str, Any]


class MemoryApi:
    """
    Objects in memory, each write a new resourceVersion; a changed spec a new generation.

    Only what the controller's own parts ask of an API server: tests/cluster asks a real one.
    """

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._number = itertools.count(1)
        self._lock = threading.Lock()
        self.writes: list[tuple[str, str, str]] = []  # verb, kind, name

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        found = self._objects.get((kind.name, namespace, name))
        return copy.deepcopy(found)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.find(kind, namespace, name)
        if found is None:
            raise NotFound(f"{kind.plural} {name!r} not found")
        return found

    def list(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> tuple[list[Object], str]:
        wanted = [part.partition("=") for part in labels.split(",") if part]  # name=value, or a name alone
        found = [
            copy.deepcopy(each)
            for (name, space, _), each in sorted(self._objects.items())
            if name == kind.name
            and namespace in ("", space)
            and all(_has(each["metadata"].get("labels") or {}, *label) for label in wanted)
        ]
        return found, str(next(self._number))

    def create(self, kind: Kind, body: Object, namespace: str = "") -> Object:
        meta = body["metadata"]
        key = (kind.name, namespace or meta["namespace"], meta["name"])
        with self._lock:
            if key in self._objects:
                raise Conflict(f"{kind.plural} {meta['name']!r} already exists")
            made = copy.deepcopy(body)
            made["metadata"] |= {"namespace": key[1], "uid": f"uid-{next(self._number)}", "generation": 1}
            return self._keep("create", key, made)

    def replace(self, kind: Kind, body: Object, subresource: str = "") -> Object:
        meta = body["metadata"]
        key = (kind.name, meta["namespace"], meta["name"])
        with self._lock:
            held = self._there(key)
            if meta.get("resourceVersion") != held["metadata"]["resourceVersion"]:
                raise Conflict("the object has been modified")
            return self._keep("update", key, copy.deepcopy(body))

    def merge(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any], subresource: str = "", manager: str = ""
    ) -> Object:
        key = (kind.name, namespace, name)
        with self._lock:
            held = self._there(key)
            version = (body.get("metadata") or {}).get("resourceVersion")
            if version not in (None, held["metadata"]["resourceVersion"]):
                raise Conflict("the object has been modified")
            changed = _merged(held, {"status": body["status"]} if subresource == "status" else body)
            if changed.get("spec") != held.get("spec"):
                changed["metadata"]["generation"] += 1
            return self._keep(f"patch {subresource}".strip(), key, changed)

    def patch(
        self, kind: Kind, namespace: str, name: str, patch: list[Object], subresource: str = "", manager: str = ""
    ) -> Object:
        key = (kind.name, namespace, name)
        with self._lock:
            held = self._there(key)
            changed = copy.deepcopy(held)
            for step in patch:
                *parents, last = [part.replace("~1", "/") for part in step["path"].split("/")[1:]]
                inner = changed
                for part in parents:
                    inner = inner[_place(inner, part)]
                last = _place(inner, last)
                if step["op"] == "test" and inner.get(last) != step["value"]:
                    raise Conflict(f"testing value {step['path']} failed")
                if step["op"] in ("add", "replace"):
                    inner[last] = step["value"]
                if step["op"] == "remove":
                    del inner[last]
            if changed.get("spec") != held.get("spec"):
                changed["metadata"]["generation"] += 1
            return self._keep("patch", key, changed)

    def delete(self, kind: Kind, namespace: str, name: str, propagation: str = "Background") -> None:
        with self._lock:
            if self._objects.pop((kind.name, namespace, name), None) is not None:
                self.writes.append(("delete", kind.name, name))

    def put(self, kind: Kind, body: Object) -> Object:
        """As another process would have it there."""
        meta = body["metadata"]
        with self._lock:
            return self._keep("put", (kind.name, meta["namespace"], meta["name"]), copy.deepcopy(body))

    def _there(self, key: tuple[str, str, str]) -> Object:
        if key not in self._objects:
            raise NotFound(f"{key[0]} {key[2]!r} not found")
        return self._objects[key]

    def _keep(self, verb: str, key: tuple[str, str, str], body: Object) -> Object:
        body["metadata"]["resourceVersion"] = str(next(self._number))
        self._objects[key] = body
        self.writes.append((verb, key[0], key[2]))
        return copy.deepcopy(body)


def _has(labels: Mapping[str, str], name: str, equals: str, value: str) -> bool:
    return name in labels and (not equals or labels[name] == value)


def _place(inner: Any, part: str) -> Any:
    return int(part) if isinstance(inner, list) else part


def _merged(held: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(held) if isinstance(held, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()
