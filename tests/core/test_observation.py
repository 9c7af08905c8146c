"""What the records say of drift: uploads that no run was started on, compared with what the champion learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.core.observation import observe, serving_since
from trimtab.core.records import Decision, IntakeOutcome, LedgerEntry, Manifest, Partition
from trimtab.core.spec.policy import DriftTrigger

START = datetime(2012, 1, 1, tzinfo=UTC)
FORTNIGHT = timedelta(weeks=2)
FAR = {"column": "heat", "adjusted": 0.0714, "effect": 0.3}
NEAR = {"column": "heat", "adjusted": 0.6, "effect": 0.02}


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(
        id=f"e{number}",
        bucket="landing",
        key=f"{number}.csv",
        etag="0",
        size=1,
        modified=START + number * FORTNIGHT,
        via="listing",
        recorded_at=START + number * FORTNIGHT,
    )


def outcome(number: int, column: dict[str, Any], labelled: int = 336) -> IntakeOutcome:
    at = START + number * FORTNIGHT
    part = Partition(id=f"p{number}", rows=336, labelled=labelled, quarantined=0, first=at - FORTNIGHT, last=at)
    report = {"verdict": "wait", "referenceBatches": 13, "columns": [column]}
    return IntakeOutcome(
        entry=f"e{number}", state="ingested", partition=part, drift=report, decided_at=at, recorded_at=at
    )


def decision(entries: tuple[str, ...], **evidence: Any) -> Decision:
    return Decision(
        number=1,
        reason="drift",
        entries=entries,
        dataset="d",
        training_digest="t",
        spec="s",
        run_key="k",
        evidence=evidence,
        decided_at=START,
        recorded_at=START,
    )


def signs(
    columns: list[dict[str, Any]],
    decisions: tuple[Decision, ...] = (),
    since: datetime | None = START,
    trigger: DriftTrigger | None = DriftTrigger(),  # noqa: B008  a value that never changes
) -> tuple[tuple[str, ...], ...]:
    seen = observe(
        entries=[entry(number) for number in range(len(columns))],
        outcomes={f"e{number}": outcome(number, column) for number, column in enumerate(columns)},
        decisions=decisions,
        results={},
        champion=None,
        requests=(),
        training_digest="t",
        maturity=timedelta(0),
        wall=START,
        wall_is_policy=False,
        drift=trigger,
        champion_since=since,
    )
    return tuple(sign.ids for sign in seen.drift)


def test_an_upload_that_moved_is_a_sign_of_drift() -> None:
    assert signs([NEAR, NEAR, FAR]) == (("e2",),)


def test_uploads_like_the_reference_are_none() -> None:
    assert signs([NEAR, NEAR, NEAR]) == ()


def test_without_the_trigger_or_a_champion_there_is_none() -> None:
    assert signs([NEAR, FAR], trigger=None) == ()
    assert signs([NEAR, FAR], since=None) == ()


def test_an_upload_that_a_run_was_offered_is_no_sign_any_more() -> None:
    assert signs([NEAR, FAR], (decision(("e1",)),)) == ()


def test_an_upload_that_fired_before_its_labels_came_does_not_fire_when_they_do() -> None:
    fired = decision((), drift={"signs": ["e1"]})
    assert signs([NEAR, FAR], (fired,)) == ()
    assert signs([NEAR, FAR, FAR], (fired,)) == (("e2",),)


def test_reports_that_compare_with_an_earlier_champion_do_not_count() -> None:
    assert signs([NEAR, FAR, NEAR], since=START + 1.5 * FORTNIGHT) == ()
    assert signs([NEAR, FAR, FAR], since=START + 1.5 * FORTNIGHT) == (("e2",),)


def test_the_least_effect_is_the_specs() -> None:
    assert signs([NEAR, FAR], trigger=DriftTrigger(min_effect=0.4)) == ()


def test_a_champion_serves_since_it_became_it_whatever_happened_to_the_challenger() -> None:
    def manifest(number: int, champion: int | None) -> Manifest:
        at = START + timedelta(days=number)
        return Manifest(number=number, champion=champion, challenger=None, previous=None, cause="", recorded_at=at)

    assert serving_since([]) is None
    assert serving_since([manifest(1, None)]) is None
    assert serving_since([manifest(1, 1), manifest(2, 2), manifest(3, 2)]) == START + timedelta(days=2)
    assert serving_since([manifest(1, 1), manifest(2, 2), manifest(3, 1)]) == START + timedelta(days=3)
