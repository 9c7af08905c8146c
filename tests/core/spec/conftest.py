"""A sound spec that tests break in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import contradictory_specs


@pytest.fixture
def sound() -> str:
    """A spec without a mistake, with a rollout by canary."""
    return contradictory_specs.SOUND


@pytest.fixture
def edited() -> Callable[..., str]:
    """The sound spec with pieces of its text replaced, each of which must stand in it once."""
    return contradictory_specs.edited
