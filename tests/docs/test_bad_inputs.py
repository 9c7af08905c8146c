"""The table of bad inputs in docs/operations.md: long enough, in every class, and each row with a test that exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
TITLE = "## What goes in wrong, and what happens"
CLASSES = ("spec", "file", "rows", "payload", "token", "artifact", "state", "settings", "full disk", "store down")
LEAST_ROWS = 40


@dataclass(frozen=True)
class Row:
    """One bad input as the page tells it."""

    kind: str
    comes_in: str
    happens: str
    not_lost: str
    test: str


def rows() -> list[Row]:
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index(TITLE) + len(TITLE) :].split("\n## ")[0]
    # A bar inside code is written \| as the table needs it.
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in row)) for row in cells[2:]]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_class_has_its_rows_and_all_are_at_least_forty() -> None:
    found = Counter(row.kind for row in rows())
    assert set(found) == set(CLASSES)
    assert min(found.values()) >= 3
    assert found.total() >= LEAST_ROWS


def test_no_input_stands_there_twice_and_no_cell_is_empty() -> None:
    inputs = [(row.kind, row.comes_in) for row in rows()]
    assert len(set(inputs)) == len(inputs)
    assert all(cell for row in rows() for cell in vars(row).values())


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.kind}: {row.comes_in}"[:80])
def test_the_named_test_exists(row: Row) -> None:
    path, _, name = row.test.strip("`").partition("::")
    assert name.startswith("test_")
    assert name in functions_in(path), f"{path} holds no {name}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.kind}: {row.comes_in}"[:80])
def test_every_row_says_how_it_ends(row: Row) -> None:
    """An exit code, an HTTP status, the kind in the ledger and the journal, or how it goes on by itself."""
    assert re.search(r"exit [12]\b|\b4\d\d\b|\b503\b|`[a-z_]+`|goes on|again|refused|passed over", row.happens), (
        row.happens
    )
