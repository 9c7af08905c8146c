"""
Writing an artifact: a skops file made canonical, so that equal models have equal digests.

skops names members by memory address, numbers objects by it, and zip entries carry the time. Here ids are numbered in
order of traversal, members renamed and sorted, dates fixed, and what compiled code left uninitialised is zeroed.
Members are stored, not deflated: zlib's output differs between its builds, and the digest must not.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.core.errors import Invalid

DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say


def dumps(pipeline: Any) -> bytes:
    """
    The canonical skops file of a fitted pipeline.

    Raises:
        Invalid: If the pipeline holds something that cannot be stored without pickle (a lambda, an open file).
    """
    import skops.io

    try:
        raw = skops.io.dumps(pipeline)
    except Exception as error:
        raise Invalid(
            f"the fitted estimator cannot be stored: {error}",
            "use functions and classes of a module instead of lambdas, and keep files and connections out of it",
        ) from error
    return canonical(raw)


def save(pipeline: Any, path: Path) -> str:
    """Write the canonical file to `path`; returns its SHA-256 as hex."""
    body = dumps(pipeline)
    path.write_bytes(body)
    return hashlib.sha256(body).hexdigest()


def canonical(raw: bytes) -> bytes:
    """The same skops file, in the one form that depends on its content only."""
    with zipfile.ZipFile(io.BytesIO(raw)) as source:
        names = _Names()
        schema = names.visit(json.loads(source.read("schema.json")))
        members = {new: _clean(source.read(old)) for old, new in names.files.items()}
    members["schema.json"] = json.dumps(schema, separators=(",", ":")).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system = 3  # the same on every system
            file.writestr(entry, members[name])
    return target.getvalue()


class _Names:
    """Numbers for ids and names for members, in order of traversal."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self._ids: dict[int, int] = {}
        self._next = 0

    def visit(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        if str(node.get("__class__", "")).startswith("<"):
            raise Invalid(
                f"the fitted estimator holds a lambda of {node.get('__module__')}, which has no name to load it by",
                "write it as a function of the module",
            )
        if node.get("__loader__") == "SetNode":
            node = {**node, "content": sorted(node["content"], key=_without_ids)}
        renamed: dict[str, Any] = {}
        for key, value in node.items():
            if key == "__id__" and isinstance(value, int):
                renamed[key] = self._number(node, value)
            elif key == "file" and isinstance(value, str):
                renamed[key] = self._file(value)
            else:
                renamed[key] = self.visit(value)
        return renamed

    def _number(self, node: dict[str, Any], old: int) -> int:
        # Whether two equal words are one object is the interpreter's affair: each gets a number of its own.
        if node.get("__loader__") == "JsonNode" or old not in self._ids:
            self._next += 1
            if node.get("__loader__") == "JsonNode":
                return self._next
            self._ids[old] = self._next
        return self._ids[old]

    def _file(self, old: str) -> str:
        if old not in self.files:
            self.files[old] = f"{len(self.files):08d}{Path(old).suffix}"
        return self.files[old]


def _without_ids(node: Any) -> str:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key != "__id__"}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return json.dumps(strip(node), sort_keys=True)


def _clean(member: bytes) -> bytes:
    """Records of trees: padding between fields, and what a leaf never sets, are whatever memory held before."""
    if not member.startswith(b"\x93NUMPY"):
        return member
    array = np.load(io.BytesIO(member), allow_pickle=False)
    if array.dtype.names is None:
        return member
    clean = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    if {"left_child", "missing_go_to_left"} <= set(array.dtype.names):
        clean["missing_go_to_left"][array["left_child"] < 0] = 0
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()
