"""May a person let this version go on to serve? Only one that was judged better and waits for exactly that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from trimtab.core.errors import Invalid, Superseded
from trimtab.core.records import Manifest, ModelVersion, Outcome


def waiting(outcomes: Iterable[Outcome], manifest: Manifest | None, rolled_out: Collection[int] = ()) -> list[int]:
    """Versions that wait for approval and have not been overtaken, ascending; those with a rollout had theirs."""
    champion = (manifest.champion if manifest else None) or 0
    challenger = manifest.challenger if manifest else None
    found = {outcome.version for outcome in outcomes if outcome.state == "awaitingApproval"}
    return sorted(
        number
        for number in found
        if number is not None and number > champion and number != challenger and number not in rolled_out
    )


def approved(
    model: str,
    version: ModelVersion,
    outcomes: Iterable[Outcome],
    now: Manifest | None,
    recorded_at: datetime,
    *,
    immediate: bool = True,
    rolled_out: Collection[int] = (),
) -> Manifest:
    """
    The manifest after `now` with the version as champion, its number left to the registry.

    Args:
        immediate: False under a strategy of rollouts: the version becomes challenger, and its rollout decides.
        rolled_out: Versions that had a rollout already.

    Raises:
        Invalid: If the version serves already, or does not wait for approval.
        Superseded: If a newer version has become champion since it was judged.
    """
    known = list(outcomes)
    champion = now.champion if now else None
    if champion == version.number:
        raise Invalid(f"{model}/v{version.number} is the champion already")
    if version.number in rolled_out or (now is not None and now.challenger == version.number):
        raise Invalid(
            f"{model}/v{version.number} was approved before, and has its rollout",
            f"trimtab status {model} shows it; what was rolled back serves by: trimtab rollback {model} "
            f"v{version.number}",
        )
    outcome = next((outcome for outcome in known if outcome.version == version.number), None)
    if outcome is None or outcome.state != "awaitingApproval":
        found = f"its run ended as {outcome.state}: {outcome.reason}" if outcome else "its run has not ended"
        others = ", ".join(f"v{number}" for number in waiting(known, now, rolled_out))
        raise Invalid(
            f"{model}/v{version.number} does not wait for approval; {found}",
            f"these wait: {others}" if others else "nothing waits for approval; trimtab status shows what serves",
        )
    if champion is not None and champion > version.number:
        raise Superseded(
            f"{model}/v{champion} became champion after v{version.number} was judged against the one before it",
            "train again (trimtab run): a new candidate is judged against the champion of today",
        )
    cause = f"v{version.number} was approved by hand: {outcome.reason}"
    if not immediate and now is not None and champion is not None:
        changed = {"challenger": version.number, "cause": cause, "recorded_at": recorded_at}
        return now.model_copy(update={**changed, "run_key": version.run_key})
    return Manifest(
        number=0,
        champion=version.number,
        challenger=None if now is None or now.challenger == version.number else now.challenger,
        previous=champion,
        cause=cause,
        run_key=version.run_key,
        recorded_at=recorded_at,
    )
