"""Fields that a spec may hold already and whose behaviour comes later: the one list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trimtab.core.errors import Invalid
from trimtab.core.spec.document import Path
from trimtab.core.spec.model import ContinuousModel, ModelSpec
from trimtab.core.spec.problems import dotted


@dataclass(frozen=True)
class Later:
    """A field, whether a spec uses it in the way that is not built yet, what that is, and what works today."""

    path: Path
    used: Callable[[ModelSpec], bool]
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.what} comes later"


LATER = (
    Later(
        ("spec", "window", "strategy"),
        lambda spec: spec.window.strategy in ("dynamic", "representative"),
        "choosing the window by itself",
        "write strategy: fixed with a size, or strategy: all; `trimtab backtest` compares sizes",
    ),
    Later(
        ("spec", "training", "mode"),
        lambda spec: spec.training.mode != "offline",
        "learning on from the champion",
        "write mode: offline",
    ),
)


def used_later(model: ContinuousModel) -> tuple[Later, ...]:
    """The fields of this spec whose behaviour comes later."""
    return tuple(later for later in LATER if later.used(model.spec))


def refuse_later(model: ContinuousModel) -> None:
    """
    Refuse to run a spec that asks for what is not built yet: half a policy is another policy.

    Raises:
        Invalid: Listing every such field with what works today.
    """
    found = used_later(model)
    if found:
        lines = [f"  {later}\n    hint: {later.hint}" for later in found]
        raise Invalid("\n".join([f"{model.name} asks for what this version does not do yet", *lines]))
