"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "trimtab.core.rollout.levels",
    "trimtab.core.rollout.plan",
    "trimtab.core.sequential.alternatives",
    "trimtab.core.sequential.betting",
    "trimtab.core.sequential.bounds",
    "trimtab.core.sequential.mixing",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
