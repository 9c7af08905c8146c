"""What a rollout will ask for, as `trimtab check` shows it: requests and time of each step, before it begins."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab.core.errors import TrimtabError
from trimtab.core.spec.units import format_duration
from trimtab.core.wording import lasting

if TYPE_CHECKING:
    from trimtab.core.rollout.plan import Expected
    from trimtab.core.spec.model import ContinuousModel

ASSUMED = "10 % errors against 2 %"  # the harm that plan.FAILING speaks of


def expectation(model: ContinuousModel, requests_per_hour: float | None) -> dict[str, Any] | None:
    """
    The rollout of a spec as plain values; None where a new model goes live at once.

    Args:
        model: The spec.
        requests_per_hour: All traffic of the model; None: from the prediction log, where a platform is reachable.
    """
    from trimtab.core.rollout.plan import expected

    rollout = model.spec.rollout
    if rollout.strategy == "immediate":
        return None
    source = "told" if requests_per_hour is not None else "log"
    rate = requests_per_hour if requests_per_hour is not None else _logged(model)
    judges_latency = model.spec.evaluation.max_latency_p99_milliseconds is not None
    steps = expected(rollout, rate / 3600 if rate else None, judges_latency=judges_latency)
    return {
        "strategy": rollout.strategy,
        "requestsPerHour": rate,
        "requestsFrom": source if rate else None,
        "steps": [asdict(step) for step in steps],
        "seconds": sum(step.seconds or 0.0 for step in steps if step.step is not None) if rate else None,
        "maxDurationSeconds": rollout.max_duration.total_seconds(),
        "notes": _notes(model, steps, rate),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """As a terminal shows it."""
    rate = found["requestsPerHour"]
    where = {"told": "", "log": ", as the prediction log has it"}.get(found["requestsFrom"], "")
    at = f", at {rate:,.0f} requests an hour{where}" if rate else ""
    shown = [f"rollout: {found['strategy']}{at}"]
    steps = [step for step in found["steps"] if step["step"] is not None]
    width = max(len(step["what"]) for step in steps)
    for number, step in enumerate(steps, 1):
        parts = []
        if step["requests"]:
            parts.append(f"{step['requests']:>8,} requests")
            if step["seconds"] is not None:
                parts.append(f"{'about ' + lasting(step['seconds']):14}")
        if step["finds"] is not None:
            parts.append(f"finds {ASSUMED} after about {step['finds']:,}")
        shown.append(f"  {number}. {step['what']:{width}}  {'  '.join(parts)}".rstrip())
    for proof in (step for step in found["steps"] if step["step"] is None and step["requests"]):
        after = f" (about {lasting(proof['seconds'])} of them)" if proof["seconds"] is not None else ""
        shown.append(f"  where labels come, {proof['requests']:,} rows of them show an equal model harmless{after}")
    return [*shown, *(f"  {note}" for note in found["notes"])]


def _notes(model: ContinuousModel, steps: list[Expected], rate: float | None) -> list[str]:
    rollout = model.spec.rollout
    notes = []
    if not rate:
        notes.append("for times, say how much is asked: --requests-per-hour 600")
        return notes
    longest = rollout.max_duration.total_seconds()
    total = sum(step.seconds or 0.0 for step in steps if step.step is not None)
    if total > longest:
        notes.append(
            f"the steps take about {lasting(total)}, and maxDuration is {format_duration(rollout.max_duration)}: then "
            f"onNoEvidence ({rollout.on_no_evidence}) decides; lower minRequests, raise weights, or allow more time"
        )
    proof = next((step for step in steps if step.step is None), None)
    if proof is not None and proof.seconds is not None and proof.requests:
        age = model.spec.data.labels.maturity.total_seconds()
        if proof.seconds + age > longest:
            notes.append(
                f"labels prove it harmless after about {lasting(proof.seconds + age)} at the earliest, beyond "
                f"maxDuration ({format_duration(rollout.max_duration)}): onNoEvidence ({rollout.on_no_evidence}) "
                "decides before"
            )
    return notes


def _logged(model: ContinuousModel) -> float | None:
    """From the platform that is found here; None where there is none, or it knows nothing of the model's traffic."""
    from trimtab.adapters.request_rate import requests_per_hour
    from trimtab.app.opening import Platform

    try:
        return requests_per_hour(Platform.find().state(model.name), datetime.now(UTC))
    except TrimtabError:
        return None
