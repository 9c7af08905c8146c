"""What comes later is accepted by the schema and refused at use, each with what works today."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trimtab.core.errors import Invalid
from trimtab.core.spec import load
from trimtab.core.spec.later import LATER, refuse_later, used_later
from trimtab.core.spec.problems import dotted

Edited = Callable[..., str]
FIELDS = {
    "spec.window.strategy": ("strategy: fixed, size: 26w", "strategy: representative"),
    "spec.training.mode": ("    seed: 0\n", "    seed: 0\n    mode: warmStart\n"),
}


def today(edited: Edited, *changes: tuple[str, str]) -> str:
    text = edited()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_every_field_of_the_list_is_tried_here() -> None:
    assert set(FIELDS) == {dotted(later.path) for later in LATER}


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_that_comes_later_is_refused_at_use_with_what_works_today(path: str, edited: Edited) -> None:
    model = load(today(edited, FIELDS[path]))
    (later,) = used_later(model)
    with pytest.raises(Invalid) as refused:
        refuse_later(model)
    assert f"{path}: " in str(refused.value)
    assert "comes later" in str(refused.value)
    assert later.hint in str(refused.value)


def test_all_of_them_are_told_at_once(edited: Edited) -> None:
    with pytest.raises(Invalid) as refused:
        refuse_later(load(today(edited, *FIELDS.values())))
    for path in FIELDS:
        assert path in str(refused.value)


def test_what_is_built_is_not_refused(edited: Edited) -> None:
    refuse_later(load(today(edited)))
