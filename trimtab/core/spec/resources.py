"""The resources of the training step, as in a Pod: what of them a cluster passes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from trimtab.core.spec.contradictions_data import Breach

UNITS = {"": Decimal(1), "m": Decimal("0.001")} | {
    f"{prefix}{i}": Decimal(base**power)
    for i, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("KMGTP" if i else "kMGTP", 1)
}
QUANTITY = "write a quantity such as 500m, 2 or 4Gi"


def unfit(resources: Mapping[str, Any]) -> Iterator[Breach]:
    """
    What is no Pod's resources, or cannot be passed on to the step, by its path below `resources`.

    >>> [breach.found for breach in unfit({"limits": {"cpu": "lots"}})]
    ["found 'lots'"]
    """
    for section, amounts in resources.items():
        if section not in ("requests", "limits") or not isinstance(amounts, Mapping):
            yield Breach(f"found {amounts!r}", "write requests and limits, each with amounts by name", (section,))
            continue
        devices = [name for name in amounts if "/" in name]
        for name, amount in amounts.items():
            number, at = quantity(amount), (section, name)
            if name not in ("cpu", "memory", *devices[:1]) or (name in devices and section == "requests"):
                if not _repeated(resources, section, name):
                    yield Breach(f"found {name}", "take it out", at)
            elif number is None:
                yield Breach(f"found {amount!r}", QUANTITY, at)
            elif name in devices and (number < 1 or number != int(number)):
                yield Breach(f"found {amount!r}", "write a whole number of devices", at)
    yield from _more_than_the_limit(resources)


def quantity(written: Any) -> Decimal | None:
    """
    A Kubernetes quantity as a number; None where it is none.

    >>> quantity("1.5Gi"), quantity("250m"), quantity(2), quantity("4GB")
    (Decimal('1610612736.0'), Decimal('0.250'), Decimal('2'), None)
    """
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        return None
    text = str(written)
    number = text.rstrip("KMGTPEkimu")
    try:
        found = Decimal(number) * UNITS[text[len(number) :]]
    except (InvalidOperation, KeyError):
        return None
    return found if found.is_finite() and found >= 0 else None


def _repeated(resources: Mapping[str, Any], section: str, name: str) -> bool:
    """A request for a device beside its limit: a Pod's are equal, so that the limit says it."""
    limits = resources.get("limits")
    return section == "requests" and "/" in name and isinstance(limits, Mapping) and name in limits


def _more_than_the_limit(resources: Mapping[str, Any]) -> Iterator[Breach]:
    requests, limits = resources.get("requests"), resources.get("limits")
    if not isinstance(requests, Mapping) or not isinstance(limits, Mapping):
        return
    for name in ("cpu", "memory"):
        asked, most = quantity(requests.get(name)), quantity(limits.get(name))
        if asked is not None and most is not None and asked > most:
            found = f"found {requests[name]}, and a limit of {limits[name]}"
            yield Breach(found, "raise the limit, or lower the request", ("requests", name))
