"""
YAML 1.2 text to plain values, safely: text, numbers, booleans, null, lists, mappings, and the line of each.

Values are resolved here by the core schema of YAML 1.2, from the parser's events: a timestamp stays text. Refused:
tags, duplicate keys, several documents, nesting and aliases that explode, and plain words that kubectl reads otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from trimtab.core.errors import Invalid

MAX_BYTES = 1 << 20  # what a custom resource may hold in etcd
MAX_NODES = 50_000  # a schema of 2,000 columns is 20,000
MAX_DEPTH = 32  # a spec is 7 deep, an estimator's parameters a few more

INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# kubectl reads these plain words as YAML 1.1 does, and sends a cluster another spec: found by asking it (1.37).
TRUE_ELSEWHERE = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")
BOOLEAN_ELSEWHERE = {*TRUE_ELSEWHERE, "n", "N", "no", "No", "NO", "off", "Off", "OFF"}
OCTAL_ELSEWHERE = re.compile(r"[-+]?0[0-7]+")
NUMBER_ELSEWHERE = re.compile(
    r"[-+]?(0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+"
    r"|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9_]+)?)"
)
SURROGATE = re.compile("[\ud800-\udfff]")
WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + word: float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """
    The values of one document.

    `lines` holds the line, from 1, of each value and key by its path; values behind an alias stand at the alias. It is
    empty where the values did not come as text.
    """

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of the value at `path`, or of the nearest one around it that exists; 0 where there are no lines."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1 if self.lines else 0)


def scalar(text: str) -> Any:
    """
    The value of a plain scalar by the core schema of YAML 1.2.

    >>> [scalar(text) for text in ("no", "012", "1e3", "0x1F", "2024-01-01", "~", "true", "1_000")]
    ['no', 12, 1000.0, 31, '2024-01-01', None, True, '1_000']
    """
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text) if NUMBER.fullmatch(text) else text


def elsewhere(text: str) -> str:
    """
    What kubectl takes a plain scalar for, where that is something else; else empty.

    >>> [elsewhere(text) for text in ("no", "Y", "012", "1_000", "0b11", "08", "2024-01-01", "true", "12")]
    ['false', 'true', 'the number 10', 'a number', 'a number', '', '', '', '']
    """
    if text in BOOLEAN_ELSEWHERE:
        return "true" if text in TRUE_ELSEWHERE else "false"
    if OCTAL_ELSEWHERE.fullmatch(text):
        return "" if int(text, 8) == int(text) else f"the number {int(text, 8)}"
    return "a number" if NUMBER_ELSEWHERE.fullmatch(text) and isinstance(scalar(text), str) else ""


def read(text: str, source: str) -> Document:
    """
    The one document that `text` holds.

    Args:
        text: YAML 1.2.
        source: What to call it in errors, such as the file's name.

    Raises:
        Invalid: With the line, what was found and what to write instead.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise Invalid(f"{source} has {size:,} bytes; a spec has at most {MAX_BYTES:,}", "is this the data file?")
    try:
        events = iter(YAML(typ="safe", pure=True).parse(text))
        return _Builder(source).document(events)
    except MarkedYAMLError as error:
        problem = error.problem or "it is not YAML"
        # Of what is never closed, the beginning helps; of anything else, the place where it was noticed.
        marks = (error.problem_mark, error.context_mark)
        mark = next((mark for mark in (reversed(marks) if _is_cut(problem) else marks) if mark is not None), None)
        _refuse_syntax(source, text, mark.line + 1 if mark is not None else 1, problem)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise Invalid(
            f"{source} line {line}: found the control character U+{code:04X}, which YAML does not allow",
            "save the file as UTF-8 text, without it",
        ) from None
    except YAMLError as error:
        raise Invalid(f"{source} is not YAML: {error}", "compare it with docs/reference/spec.md") from None


def _refuse_syntax(source: str, text: str, line: int, problem: str) -> NoReturn:
    """Say a syntax error of the parser in our words where it has an everyday cause."""
    lines = text.splitlines()
    found = lines[line - 1] if line <= len(lines) else ""
    shown = f"\n    {found.strip()[:100]}" if found.strip() and "://" not in found else ""
    if "\t" in found[: len(found) - len(found.lstrip())] or "'\\t'" in problem:
        problem, hint = "found a tab where YAML indents with spaces", "replace the tabs by two spaces each"
    elif "mapping values are not allowed" in problem:
        problem = "found a colon where no key can stand"
        hint = "indent the line as its neighbours are, or put quotes around a text that holds `: `"
    elif _is_cut(problem):
        problem = f"the text ends inside something that was opened here ({problem})"
        hint = "close the bracket, brace or quote"
    elif "cannot start any token" in problem:
        hint = "put quotes around a text that begins with this character"
    else:
        hint = "look for a missing indent, bracket, comma or quote on this line or the one before"
    raise Invalid(f"{source} line {line}: {problem}{shown}", hint)


def _is_cut(problem: str) -> bool:
    return "stream end" in problem or "end of stream" in problem


class _Builder:
    """Builds values from events, iteratively in depth's bound, and counts what it builds."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[Path, int] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}  # value, and how many nodes it is
        self.nodes = 0

    def refuse(self, line: int, found: str, hint: str) -> NoReturn:
        raise Invalid(f"{self.source} line {line}: {found}", hint)

    def document(self, events: Iterator[Event]) -> Document:
        documents = 0
        value: Any = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    line = event.start_mark.line + 1
                    self.refuse(line, "a second document begins here; a spec is one", "put each model in its own file")
            elif isinstance(event, NodeEvent):
                value = self.node(event, events, ())
        if not documents:
            raise Invalid(f"{self.source} is empty; it needs a ContinuousModel", "write one with `trimtab init FILE`")
        return Document(value, self.lines)

    def node(self, event: NodeEvent, events: Iterator[Event], path: Path) -> Any:
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.count(1, line)
        if len(path) > MAX_DEPTH:
            self.refuse(line, f"values are nested more than {MAX_DEPTH} deep", "a spec is about 7 deep")
        if isinstance(event, AliasEvent):
            return self.alias(event, line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.refuse(
                line,
                f"found the tag {tag}; a spec holds plain values only",
                "remove it: text, numbers, true, false, null, lists and mappings need none",
            )
        before = self.nodes - 1
        value: Any
        if isinstance(event, ScalarEvent):
            value = self.plain(event.value, line) if event.implicit[0] else event.value
            if SURROGATE.search(event.value):
                self.refuse(line, "found half of a surrogate pair, which is no character", "write the character itself")
        elif isinstance(event, SequenceStartEvent):
            value = [self.node(item, events, (*path, index)) for index, item in enumerate(_items(events))]
        else:
            value = self.mapping(events, path)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def plain(self, text: str, line: int) -> Any:
        other = elsewhere(text)
        if other:
            meant = f", or {other} if that is meant" if text in BOOLEAN_ELSEWHERE else ", or the number by plain digits"
            self.refuse(line, f"found {text} without quotes, which kubectl reads as {other}", f'write "{text}"{meant}')
        return scalar(text)

    def mapping(self, events: Iterator[Event], path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_event in _items(events):
            line = key_event.start_mark.line + 1
            key = self.node(key_event, events, (*path, "")) if isinstance(key_event, ScalarEvent) else None
            self.lines.pop((*path, ""), None)
            if not isinstance(key, str):
                written = key_event.value if isinstance(key_event, ScalarEvent) else "a list, mapping or alias"
                self.refuse(line, f"found {written} as a key; keys are text", f'write it in quotes: "{written}"')
            if key in value:
                first = self.lines[(*path, key)]
                self.refuse(line, f"the key {key} stands here again, first on line {first}", "keep one of the two")
            if key == "<<":
                self.refuse(line, "found the merge key <<, which YAML 1.2 does not have", "write the fields out")
            self.lines[(*path, key)] = line
            value[key] = self.node(cast("NodeEvent", next(events)), events, (*path, key))
        return value

    def alias(self, event: AliasEvent, line: int) -> Any:
        if event.anchor not in self.anchors:
            self.refuse(
                line,
                f"*{event.anchor} repeats a value that is not complete before this line",
                f"put &{event.anchor} on an earlier value, or write the value out",
            )
        value, size = self.anchors[event.anchor]
        self.count(size, line)
        return value

    def count(self, nodes: int, line: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.refuse(
                line,
                f"values and repeated aliases come to more than {MAX_NODES:,}",
                "write fewer, or move the schema to a file of its own with schemaRef",
            )


def _items(events: Iterator[Event]) -> Iterator[NodeEvent]:
    """The nodes of the collection that has just begun; what reads one reads all of it."""
    for event in events:
        if isinstance(event, CollectionEndEvent):
            return
        yield cast("NodeEvent", event)
