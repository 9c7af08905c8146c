"""What the evidence says: of each test where it stands, in numbers and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

from trimtab.core.rollout.evidence import Evidence
from trimtab.core.rollout.levels import Test, alphas, needed
from trimtab.core.rollout.values import RolloutSpec

METRIC: dict[Test, str] = {"errors": "errors", "mirrored": "errors", "latency": "latency", "loss": "loss"}
WHAT: dict[Test, str] = {
    "errors": "failed requests",
    "mirrored": "failed mirrored requests",
    "latency": "requests beyond {limit:g} ms",
    "loss": "loss",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """
    One test against its null: how often, what came out for each, and how far from proof.

    Attributes:
        log_e: Natural log of the e-value now.
        peak: Its highest so far: harm once proven stays proven.
        needed: The peak that proves at this test's share of alpha.
    """

    test: Test
    what: str
    margin: float
    alpha: float
    champion_units: int
    champion_mean: float | None
    challenger_units: int
    challenger_mean: float | None
    log_e: float
    peak: float

    @property
    def needed(self) -> float:
        return needed(self.alpha)

    @property
    def proven(self) -> bool:
        return self.peak >= self.needed

    @property
    def metric(self) -> str:
        """errors, latency or loss."""
        return METRIC[self.test]

    @property
    def numbers(self) -> dict[str, Any]:
        """For the journal and the report."""
        return {
            "margin": self.margin,
            "alpha": round(self.alpha, 6),
            "championUnits": self.champion_units,
            "championMean": self.champion_mean,
            "challengerUnits": self.challenger_units,
            "challengerMean": self.challenger_mean,
            "logE": round(self.log_e, 4),
            "logPeak": round(self.peak, 4),
            "logNeeded": round(self.needed, 4),
            "proven": self.proven,
        }

    def __str__(self) -> str:
        """
        For example: `failed requests: 10 % of 220 against 2 % of 1,990, accepted is 1 point more (e-value 52, proof
        is 30)`.
        """
        challenger, champion = _percent(self.challenger_mean), _percent(self.champion_mean)
        return (
            f"{self.what}: {challenger} of {self.challenger_units:,} against {champion} of {self.champion_units:,}, "
            f"accepted is {_points(self.margin)} more (e-value {_e(self.peak)}, proof is {_e(self.needed)})"
        )


def harm(evidence: Evidence, spec: RolloutSpec) -> list[Standing]:
    """Each test that may roll back, in the order of `levels.PARTS`."""
    return [_standing(test, alpha, evidence, spec) for test, alpha in alphas(spec).items()]


def harmless(evidence: Evidence, spec: RolloutSpec) -> Standing:
    """
    The test that promotion needs: that the challenger's loss is not worse by the margin or more.

    What counts is where it stands now: a challenger that was harmless once and no longer is must not be promoted.
    """
    loss, analysis = evidence.loss, spec.policy.analysis
    return Standing(
        test="loss",
        what="loss",
        margin=analysis.max_loss_increase,
        alpha=analysis.alpha,
        champion_units=loss.champion_units,
        champion_mean=loss.champion_mean,
        challenger_units=loss.challenger_units,
        challenger_mean=loss.challenger_mean,
        log_e=loss.safe_log_e,
        peak=loss.safe_log_e,
    )


def numbers(evidence: Evidence, spec: RolloutSpec) -> dict[str, Any]:
    """All of it as JSON values: by test, and what was left out."""
    found: dict[str, Any] = {standing.test: standing.numbers for standing in harm(evidence, spec)}
    found["harmless"] = harmless(evidence, spec).numbers
    found["lossDifference"] = [evidence.loss.difference_low, evidence.loss.difference_high]
    found["labels"] = {
        "mature": evidence.loss.mature,
        "waiting": evidence.loss.waiting,
        "leftOut": evidence.loss.left_out,
    }
    found["leftOut"] = dict(evidence.left_out)
    return found


def _standing(test: Test, alpha: float, evidence: Evidence, spec: RolloutSpec) -> Standing:
    what = WHAT[test].format(limit=spec.max_latency_milliseconds or 0.0)
    if test == "loss":
        loss = evidence.loss
        units = (loss.champion_units, loss.champion_mean, loss.challenger_units, loss.challenger_mean)
        logs = (loss.harm_log_e, loss.harm_peak)
        margin = spec.policy.analysis.max_loss_increase
    elif test == "mirrored":
        seen, pairs = evidence.mirrored, evidence.mirrored.bets.pairs
        rates = [count / pairs if pairs else None for count in (seen.champion_failed, seen.challenger_failed)]
        units = (pairs, rates[0], pairs, rates[1])
        logs, margin = (seen.bets.log_e, seen.bets.peak), seen.bets.margin
    else:
        streams = evidence.errors if test == "errors" or evidence.latency is None else evidence.latency
        units = (streams.champion_units, streams.champion_mean, streams.challenger_units, streams.challenger_mean)
        logs, margin = (streams.log_e, streams.peak), streams.margin
    return Standing(test, what, margin, alpha, *units, *logs)


def _percent(mean: float | None) -> str:
    return "none" if mean is None else f"{100 * mean:.3g} %"


def _points(margin: float) -> str:
    points = f"{100 * margin:g}"
    return f"{points} point" if points == "1" else f"{points} points"


def _e(log_e: float) -> str:
    if log_e >= 23:
        return f"10^{log_e / 2.302585:.0f}"
    value = exp(log_e)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
