"""
From what is wanted of a SeldonDeployment and what is seen of it to the next single write: pure.

Seldon's operator routes only while every Deployment is ready, and its state says Available too early. So each write
does one thing: predictors come and go, or weights move, never both for a predictor that is still to become ready;
weights move only to predictors whose Deployments are rolled out; and who stands in the way without serving is let go.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from trimtab.core.ports import Serving
from trimtab.core.rollout.pinning import pins
from trimtab.core.rollout.predictors import WHOLE, Book, Found, Operation, Split, Write


def next_write(found: Found | None, split: Split, serving: Serving) -> Write | None:
    """
    The next thing to do; None when nothing is, or something has to become ready first.

    Args:
        found: None while there is no SeldonDeployment.
        split: What is wanted.
        serving: The same as trimtab knows it, for the book.
    """
    if found is None:
        first = {"replicas": 1, **split.template(split.champion), "traffic": WHOLE}
        return Write(f"create with {split.champion}", _asked(Book(), split, serving), create=(first,))
    for step in (_pin, _drop, _add, _flip, _weigh):
        write = step(found, split, serving)
        if write is not None:
            return write
    return None


def _pin(found: Found, split: Split, serving: Serving) -> Write | None:
    operations = pins(found)
    if not operations:
        return None
    return Write("pin replicas and ports", found.book, (*_guards(found), *operations))


# Who comes and who goes


def _drop(found: Found, split: Split, serving: Serving) -> Write | None:
    """Remove who is not wanted, or is kept and not ready: while he is there, no weight moves."""
    running = _running(found, split)
    gone = [name for name in found.names if name not in running]
    unready = [
        name
        for name in found.names
        if name in found.book.former
        and name in running
        and name not in (split.champion, split.challenger)
        and name not in found.rolled_out
        and (not found.weight(name) or split.champion in found.rolled_out)
    ]
    leaving = [*gone, *unready]
    if not leaving or split.champion not in found.names:
        return None
    serves = split.champion in found.rolled_out or found.weight(split.champion) > 0
    if not serves and (not found.weights or any(found.weight(name) for name in leaving)):
        return None  # he answers, or may do so as far as anybody knows, and his successor does not yet
    book = replace(_asked(found.book, split, serving), let_go=tuple(sorted({*found.book.let_go, *unready})))
    staying = [name for name in found.names if name not in leaving and not _is_shadow(found, name)]
    weights = {name: found.predictors[found.names.index(name)].get("traffic", 0) for name in staying}
    if len(staying) == 1:
        weights = {staying[0]: WHOLE}
    else:
        weights[split.champion] = WHOLE - sum(weights[name] for name in staying if name != split.champion)
    operations = [_weight(found, name, weight) for name, weight in weights.items()]
    places = sorted((found.names.index(name) for name in leaving), reverse=True)
    operations += [{"op": "remove", "path": f"/spec/predictors/{place}"} for place in places]
    return Write(f"remove {', '.join(leaving)}", book, (*_guards(found), *operations))


def _add(found: Found, split: Split, serving: Serving) -> Write | None:
    """Append who is missing, without traffic: he has to become ready first."""
    missing = [name for name in _running(found, split) if name not in found.names]
    if not missing:
        return None
    operations: list[Operation] = []
    for name in missing:
        template = {"replicas": _size(found, split.champion), **split.template(name)}
        template.pop("shadow", None)
        template |= _mirrored() if split.shadow and name == split.challenger else {"traffic": 0}
        operations.append(_add_to("/spec/predictors/-", template))
    if len(found.names) == 1:
        # A single predictor may leave its traffic unset; of two, the weights must add up.
        operations.insert(0, _weight(found, found.names[0], WHOLE))
    return Write(f"add {', '.join(missing)}", found.book, (*_guards(found), *operations))


def _size(found: Found, champion: str) -> int:
    """As many pods as the champion has: whoever is to take over carries the same load."""
    given = [each["replicas"] for each in found.predictors if each["name"] == champion and each.get("replicas")]
    return int(given[0]) if given else found.replicas.get(champion, 1) or 1


def _flip(found: Found, split: Split, serving: Serving) -> Write | None:
    """Somebody becomes a shadow, or is one no longer: its pods restart, so no weight moves in the same write."""
    mirrored = split.challenger if split.shadow else None
    for place, name in enumerate(found.names):
        is_shadow = _is_shadow(found, name)
        if is_shadow and name != mirrored:
            operations = [
                {"op": "remove", "path": f"/spec/predictors/{place}/shadow"},
                _add_to(f"/spec/predictors/{place}/traffic", 0),
            ]
            return Write(f"{name} is no shadow any more", found.book, (*_guards(found), *operations))
        if name == mirrored and not is_shadow and not found.predictors[place].get("traffic") and not found.weight(name):
            operations = [_add_to(f"/spec/predictors/{place}/{key}", value) for key, value in _mirrored().items()]
            others = [each for each in found.names if each != name and not _is_shadow(found, each)]
            if len(others) == 1:
                operations.insert(0, _weight(found, others[0], WHOLE))
            book = _asked(found.book, split, serving)
            return Write(f"{name} becomes a shadow", book, (*_guards(found), *operations))
    return None


# Who answers how much


def _weigh(found: Found, split: Split, serving: Serving) -> Write | None:
    """All weights at once, once everybody who is to answer can."""
    here = [name for name in found.names if not _is_shadow(found, name)]
    wanted = {name: split.traffic(name) for name in here}
    book = _asked(found.book, split, serving)
    if sum(wanted.values()) != WHOLE:
        return None  # somebody who is to answer is not there yet
    if all(found.predictors[found.names.index(name)].get("traffic", 0) == weight for name, weight in wanted.items()):
        return None if book == found.book else Write("note what is asked", book, _guards(found))
    if any(weight and name not in found.rolled_out for name, weight in wanted.items()):
        return None
    shares = ", ".join(f"{name} {weight} %" for name, weight in wanted.items() if weight)
    return Write(shares, book, (*_guards(found), *(_weight(found, name, weight) for name, weight in wanted.items())))


# When its model is gone


def hand_back(found: Found, own: Container[str], champion: str) -> tuple[Operation, ...] | None:
    """
    The patch by which a SeldonDeployment is its owner's again: his predictors answer as they do, trimtab's are gone.

    Args:
        own: Names of trimtab's predictors.
        champion: Of those the one that was to take over.

    Returns:
        None while the champion can take over, one of trimtab's answers, or there is nobody else.
    """
    shares = found.weights
    if shares is None:
        shares = {each["name"]: each.get("traffic", 0) for each in found.predictors if not each.get("shadow")}
    owners = [name for name in found.names if name not in own and not _is_shadow(found, name)]
    leaving = [name for name in found.names if name in own]
    if not owners or champion in found.rolled_out or any(shares.get(name) for name in leaving):
        return None
    removed = [{"op": "remove", "path": f"/spec/predictors/{found.names.index(name)}"} for name in reversed(leaving)]
    weights = {name: shares.get(name, 0) for name in owners}
    most = max(weights, key=lambda name: weights[name])
    weights[most] += WHOLE - sum(weights.values())
    return (*_guards(found), *(_weight(found, name, weight) for name, weight in weights.items()), *removed)


def _running(found: Found, split: Split) -> tuple[str, ...]:
    """Who is to run: those let go are not started again only to be kept."""
    needed = {split.champion, *([split.challenger] if split.challenger else [])}
    return tuple(name for name in split.running if name in needed or name not in found.book.let_go)


def _asked(book: Book, split: Split, serving: Serving) -> Book:
    former = {*book.former, split.champion}
    needed = {split.champion, split.challenger}
    let_go = tuple(name for name in book.let_go if name in split.running and name not in needed)
    return Book(replace(serving, versions=()), tuple(sorted(name for name in former if name in split.running)), let_go)


def _mirrored() -> Operation:
    # Without traffic the operator leaves the percentage out, and Istio takes that for all of it; so say it.
    return {"shadow": True, "traffic": WHOLE}


def _is_shadow(found: Found, name: str) -> bool:
    return bool(found.predictors[found.names.index(name)].get("shadow"))


def _guards(found: Found) -> tuple[Operation, ...]:
    """The list is still the one that was read: places in it mean what they meant."""
    last = len(found.names)
    return tuple(
        {"op": "test", "path": f"/spec/predictors/{place}/name", "value": found.names[place]} for place in range(last)
    )


def _weight(found: Found, name: str, weight: int) -> Operation:
    return _add_to(f"/spec/predictors/{found.names.index(name)}/traffic", weight)


def _add_to(path: str, value: object) -> Operation:
    return {"op": "add", "path": path, "value": value}
