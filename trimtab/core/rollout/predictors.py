"""A SeldonDeployment as it is, and as it is wanted: values that the planner of its next write works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.core.ports import Serving

WHOLE = 100  # per cent
Body = Mapping[str, Any]
Operation = dict[str, Any]  # of a JSON patch


@dataclass(frozen=True, slots=True)
class Book:
    """
    What is written down beside the predictors: which split was asked for last, by whose names.

    Attributes:
        asked: None before the first.
        former: Predictors that were champion once: kept for the way back, and let go when they go unready.
        let_go: Those of them that went, and do not come back by themselves.
    """

    asked: Serving | None = None
    former: tuple[str, ...] = ()
    let_go: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """
    A SeldonDeployment as it is.

    Attributes:
        predictors: As they stand in its spec, in their order.
        rolled_out: Names of those whose Deployments have all their pods, of the newest template, ready.
        weights: By name, as the VirtualService has them; None without one that is whole.
        mirrored: The predictor that gets a copy of everything; empty for none.
        replicas: Pods that a predictor's Deployment has now.
    """

    predictors: tuple[Body, ...]
    rolled_out: frozenset[str] = frozenset()
    weights: Mapping[str, int] | None = None
    mirrored: str = ""
    replicas: Mapping[str, int] = field(default_factory=dict)
    book: Book = Book()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each["name"] for each in self.predictors)

    def weight(self, name: str) -> int:
        """As the VirtualService has it."""
        return (self.weights or {}).get(name, 0)


@dataclass(frozen=True, slots=True)
class Split:
    """
    What is wanted, by predictors' names. `running` are kept, whoever answers.

    `template` gives the predictor of a name that is missing.
    """

    champion: str
    challenger: str | None
    weight_percent: int
    shadow: bool
    running: tuple[str, ...]
    template: Callable[[str], Body]

    def traffic(self, name: str) -> int:
        if name == self.champion:
            return WHOLE - (0 if self.shadow else self.weight_percent)
        return self.weight_percent if name == self.challenger and not self.shadow else 0


@dataclass(frozen=True, slots=True)
class Write:
    """
    One change. `create` is the first list of predictors; else `operations` is a JSON patch with its guards.

    `book` is what stands in the book once it is made.
    """

    what: str
    book: Book
    operations: tuple[Operation, ...] = ()
    create: tuple[Body, ...] = ()


def routed(found: Found, versions: Mapping[str, int]) -> tuple[int, int | None, int, bool] | None:
    """
    Champion, challenger, the challenger's weight and whether it is mirrored to, as the VirtualService has them.

    Args:
        versions: Numbers by predictor name; who has none is nobody of trimtab's.

    Returns:
        None while nothing is routed, or somebody without a number answers.
    """
    carrying = {name: weight for name, weight in (found.weights or {}).items() if weight}
    if not carrying or any(name not in versions for name in carrying):
        return None
    asked = found.book.asked
    number = {versions[name]: weight for name, weight in carrying.items()}
    if asked is not None and set(number) <= {asked.champion, asked.challenger} and asked.champion in number:
        champion = asked.champion
    else:
        champion = max(number, key=lambda version: (number[version], -version))
    others = [version for version in number if version != champion]
    if len(others) > 1:
        return None
    if others:
        return champion, others[0], number[others[0]], False
    mirrored = versions.get(found.mirrored)
    return (champion, mirrored, 0, True) if mirrored is not None else (champion, None, 0, False)
