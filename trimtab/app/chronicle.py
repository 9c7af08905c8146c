"""
The journal, kept level: whatever stands in the state and was not told yet is told, once.

Nothing is told at the moment it happens, because a process may be killed between the deed and its entry, and because
some of it is done by others: by a run's steps, by `trimtab quarantine release`, by a run through the SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters.state import State
from trimtab.core.observation import in_order
from trimtab.core.ports import Clock
from trimtab.core.records import Decision, IntakeOutcome, LedgerEntry, Manifest, Outcome
from trimtab.core.triggering import Ignore, Sign, StartRun, Verdict, Wait
from trimtab.core.wording import counted

HELD_BACK = frozenset({"waiting", "ignored"})


class Chronicle:
    """Tells one model's journal; used by the one process that works for the model."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._journal = state.journal
        self._clock = clock
        self._told: set[str] = set()
        self._verdict = ""  # the verdict told last, so that only a change of mind is told

    def open(self) -> None:
        """Learn what was told before."""
        entries = self._journal.entries()
        self._told = {entry.id for entry in entries}
        last = next((e for e in reversed(entries) if e.kind in HELD_BACK or e.kind == "decided"), None)
        self._verdict = last.summary if last is not None and last.kind in HELD_BACK else ""

    def intakes(self, entries: Mapping[str, LedgerEntry], outcomes: Mapping[str, IntakeOutcome]) -> None:
        """Every upload: ingested, set aside, repeated, or released from quarantine."""
        for entry in in_order(entries[each] for each in outcomes if each in entries):
            outcome = outcomes[entry.id]
            # An outcome changes once at most: by the release of what was quarantined.
            name = f"ledger/{entry.id}/{outcome.state}"
            if name in self._told:
                continue
            released = outcome.state == "ingested" and f"ledger/{entry.id}/quarantined" in self._told
            self._tell(
                name,
                "released" if released else outcome.state,
                summarize_intake(entry, outcome),
                intake_evidence(entry, outcome),
                outcome.decided_at,
            )

    def decisions(self, decisions: Iterable[Decision], results: Mapping[int, Outcome]) -> None:
        """Every decision and how it ended, in order."""
        for decision in decisions:
            objects = counted(len(decision.entries), "new object")
            summary = f"decision {decision.number}: train ({decision.reason}) on {objects}"
            evidence = decision.evidence | {"dataset": decision.dataset, "trainingDigest": decision.training_digest}
            self._tell(f"decision/{decision.number}", "decided", summary, evidence, decision.decided_at)
            result = results.get(decision.number)
            if result is not None:
                self._tell(
                    f"outcome/{decision.number}",
                    "finished",
                    f"decision {decision.number}: {result.state}: {result.reason}",
                    {
                        "state": result.state,
                        "version": result.version,
                        "trainingSeconds": result.training_seconds,
                        "fits": result.fits,
                        **({"log": list(result.log)} if result.log else {}),
                    },
                    result.decided_at,
                )

    def promotions(self, manifests: Iterable[Manifest]) -> None:
        """Every change of an alias, oldest first: a challenger that comes or goes is no promotion."""
        champion = None
        for manifest in manifests:
            evidence = manifest.model_dump(mode="json", by_alias=True, include={"champion", "challenger", "previous"})
            kind = "promoted" if manifest.champion != champion else "aliases"
            champion = manifest.champion
            self._tell(f"manifest/{manifest.number}", kind, manifest.cause, evidence, self._clock.now())

    def verdict(self, verdict: Verdict) -> None:
        """Why there is no run; said again only when the reason has changed, or a run came between."""
        if isinstance(verdict, StartRun):
            self._verdict = ""
            return
        if verdict.reason == self._verdict:
            return
        self._verdict = verdict.reason
        now = self._clock.now()
        kind = "ignored" if isinstance(verdict, Ignore) else "waiting"
        evidence: dict[str, Any] = {}
        if isinstance(verdict, Wait) and verdict.until is not None:
            evidence = {"until": verdict.until.isoformat(), "clock": verdict.clock}
        self._tell(f"wait/{len(self._told)}/{now.isoformat()}", kind, verdict.reason, evidence, now)

    def drift(self, signs: Iterable[Sign]) -> None:
        """Alarms of drift, each once: a row of batches that goes on is the same alarm."""
        for sign in signs:
            self.alert(f"drift/{sign.ids[0]}", sign.sentence, sign.figures)

    def alert(self, name: str, summary: str, evidence: Mapping[str, Any] | None = None) -> None:
        """Something that a person should look at; told once a name."""
        self._tell(f"alert/{name}", "alert", summary, evidence or {}, self._clock.now())

    def _tell(self, id: str, kind: str, summary: str, evidence: Mapping[str, Any], decided_at: datetime) -> None:
        if id not in self._told:
            self._journal.tell(id, kind, summary, evidence, decided_at)
            self._told.add(id)


def summarize_intake(entry: LedgerEntry, outcome: IntakeOutcome) -> str:
    """One sentence of an upload, as the journal and the live status show it."""
    if outcome.state == "duplicate":
        return f"{entry.key}: {outcome.reason or 'repeats what was taken in before'}"
    if outcome.state == "quarantined":
        return f"{entry.key}: set aside ({outcome.kind}): {outcome.reason}"
    part = outcome.partition
    rows = f"{part.rows} rows, {part.labelled} labelled, {part.quarantined} set aside" if part else "no rows"
    verdict = outcome.drift.get("verdict")
    seen = f"; drift says {verdict}" if verdict else ""
    if verdict in ("retrain", "fixData"):
        seen += f": {outcome.drift.get('reason', '')}"
    judged = outcome.judgement
    if judged is not None:
        name, value = next(iter(judged.metrics.items()), ("", 0.0))
        seen += f"; champion v{judged.version}: {name} {value:.4g} on them"
    return f"{entry.key}: {rows}{seen}"


def intake_evidence(entry: LedgerEntry, outcome: IntakeOutcome) -> dict[str, Any]:
    """The figures of an upload, without the long reports: those stand in the outcome."""
    told = outcome.model_dump(mode="json", by_alias=True, include={"kind", "duplicate_of", "partition", "judgement"})
    return {
        "entry": entry.id,
        "uri": entry.uri,
        "via": entry.via,
        "bytes": entry.size,
        "verdict": outcome.drift.get("verdict"),
        **{name: value for name, value in told.items() if value},
    }
