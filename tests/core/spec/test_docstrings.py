"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "trimtab.app.draft",
    "trimtab.app.draft_text",
    "trimtab.core.spec.document",
    "trimtab.core.spec.dump",
    "trimtab.core.spec.problems",
    "trimtab.core.spec.units",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
