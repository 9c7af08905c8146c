"""How people name a model version: `flights/v7`, `flights@champion`, `flights@challenger`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from trimtab.core.errors import Invalid

FORM = re.compile(r"(?P<name>[a-z0-9][-a-z0-9]*)(?:/v(?P<number>[1-9][0-9]*)|@(?P<alias>champion|challenger))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A version by number or by alias: exactly one of the two is set."""

    name: str
    number: int | None = None
    alias: Literal["champion", "challenger"] | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.number is None else f"{self.name}/v{self.number}"


def parse_reference(text: str) -> Reference:
    """
    A name alone means its champion.

    Raises:
        Invalid: If the text has another form.

    >>> parse_reference("flights/v7")
    Reference(name='flights', number=7, alias=None)
    >>> str(parse_reference("flights"))
    'flights@champion'
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise Invalid(
            f"found {text!r}; a model version reads NAME@champion, NAME@challenger or NAME/vN",
            "for example flights@champion or flights/v7",
        )
    if found["number"]:
        return Reference(found["name"], number=int(found["number"]))
    return Reference(found["name"], alias="challenger" if found["alias"] == "challenger" else "champion")
