"""
Where each pod tells of its own requests: how often a harmless challenger is rolled back, how soon a harmful one.

Simulated rollouts with three pods, one of them the challenger's, looked at after every report: logs in segments of five
seconds, the challenger's two seconds behind, or counters scraped every 15 seconds, out of step. `as draws` is our test
of a router's log, taken at its word. Fixed thresholds are as progressive delivery knows them: once a minute the
challenger's own share of failures is checked against a limit, and five failed checks roll back. The z-test compares all
that was told so far, one-sided at alpha.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from benchmarks import show
from trimtab.core.ports import Answer
from trimtab.core.rollout.evidence import begin, with_answers
from trimtab.core.rollout.proof import harm
from trimtab.core.rollout.values import RolloutSpec, WeightEpoch

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rates = tuple[Floats, Floats]  # of failures of champion and challenger, by request
ALPHA, MARGIN = 0.05, 0.01
CHAMPION, CHALLENGER = 6, 7
START = datetime(2024, 5, 1, tzinfo=UTC)
MINUTES, PER_SECOND, SHARE = 10, 20.0, 0.2
SEGMENT_SECONDS, LATE_SECONDS, SCRAPE_SECONDS = 5.0, 2.0, 15.0
CHECK_SECONDS, FAILED_CHECKS = 60.0, 5  # of the fixed thresholds
LEAST = 30  # requests of each variant before the z-test looks
USUAL = 0.02  # of all requests fail
NEVER = float("inf")
SPEC = RolloutSpec(
    number=1,
    name="flights-v7",
    model="flights",
    version=CHALLENGER,
    champion=CHAMPION,
    rollout={
        "strategy": "canary",
        "steps": [{"setWeight": int(100 * SHARE)}],
        "analysis": {"alpha": ALPHA, "maxErrorRatioIncrease": MARGIN},
    },
    recorded_at=START,
)
EPOCHS = (
    WeightEpoch(
        weight_percent=int(100 * SHARE), shadow=False, asked_at=START, confirmed_from=START + timedelta(seconds=1)
    ),
)
BEGAN = START.timestamp() + 30


@dataclass(frozen=True)
class Told:
    """One rollout's requests in the order in which they are told, arrays of shape (requests,); times in seconds."""

    at: Floats  # told
    since: Floats
    until: Floats
    pod: NDArray[np.intp]  # the last of three is the challenger's
    failed: Flags

    @property
    def challenger(self) -> Flags:
        return np.equal(self.pod, 2)

    def reports(self) -> list[slice]:
        """The requests of each report."""
        begins = [0, *(np.flatnonzero(np.diff(self.at)) + 1).tolist(), len(self.at)]
        return [slice(low, high) for low, high in pairwise(begins) if high > low]


# How pods tell


def requests(rng: np.random.Generator, share: float) -> tuple[Floats, NDArray[np.intp]]:
    """When each came, and which pod answered it."""
    count = int(MINUTES * 60 * PER_SECOND)
    came = np.sort(rng.random(count)) * MINUTES * 60
    return came, rng.choice(3, count, p=[(1 - share) / 2, (1 - share) / 2, share])


def logged(rng: np.random.Generator, rates: Callable[[Floats], Rates], share: float = SHARE) -> Told:
    """Each pod puts its log every five seconds; the challenger's began two seconds later."""
    came, pod = requests(rng, share)
    late = np.where(pod == 2, LATE_SECONDS, 0.0)
    told = np.floor((came - late) / SEGMENT_SECONDS) * SEGMENT_SECONDS + SEGMENT_SECONDS + late
    return in_order(told, came, came, pod, failures(rng, came, pod, rates))


def scraped(rng: np.random.Generator, rates: Callable[[Floats], Rates], share: float = SHARE) -> Told:
    """Each pod's counter is read every 15 seconds, and says only what it gained since."""
    came, pod = requests(rng, share)
    phase = (rng.random(3) * SCRAPE_SECONDS)[pod]
    told = np.ceil((came - phase) / SCRAPE_SECONDS) * SCRAPE_SECONDS + phase
    return in_order(told, told - SCRAPE_SECONDS, told, pod, failures(rng, came, pod, rates))


def failures(rng: np.random.Generator, came: Floats, pod: NDArray[np.intp], rates: Callable[[Floats], Rates]) -> Flags:
    champion, challenger = rates(came)
    return rng.random(len(came)) < np.where(pod == 2, challenger, champion)


def in_order(at: Floats, since: Floats, until: Floats, pod: NDArray[np.intp], failed: Flags) -> Told:
    order = np.lexsort((since, at))
    return Told(at[order], since[order], until[order], pod[order], failed[order])


def steady(champion: float, challenger: float) -> Callable[[Floats], Rates]:
    return lambda came: (np.full(came.shape, champion), np.full(came.shape, challenger))


def outages(rng: np.random.Generator) -> Callable[[Floats], Rates]:
    """Four times, for ten seconds, every second request of both fails."""
    begins = rng.random(4) * (MINUTES * 60 - 60) + 30

    def rates(came: Floats) -> Rates:
        down = ((came[:, None] >= begins) & (came[:, None] < begins + 10)).any(axis=1)
        found = np.where(down, 0.5, USUAL)
        return found, found

    return rates


# The tests: after how many seconds each rolls back


def ours(told: Told, apart: bool = True) -> float:
    evidence = begin(SPEC, told_apart=apart)
    for report in told.reports():
        evidence = with_answers(evidence, SPEC, answers(told, report), EPOCHS)
        if any(standing.proven for standing in harm(evidence, SPEC)):
            return float(told.at[report.start])
    return NEVER


def as_draws(told: Told) -> float:
    return ours(told, apart=False)


def answers(told: Told, report: slice) -> list[Answer]:
    rows = zip(*(column[report].tolist() for column in (told.since, told.until, told.pod, told.failed)), strict=True)
    return [
        Answer(
            at=BEGAN + (since + until) / 2,
            version=CHALLENGER if pod == 2 else CHAMPION,
            failed=failed,
            seconds=0.01,
            within=(BEGAN + since, BEGAN + until) if until > since else None,
            teller=f"pod-{pod}",
        )
        for since, until, pod, failed in rows
    ]


def fixed_threshold(told: Told) -> float:
    failed_checks = 0
    for check in np.arange(CHECK_SECONDS, told.at[-1] + 1, CHECK_SECONDS):
        lately = told.challenger & (told.at > check - CHECK_SECONDS) & (told.at <= check)
        failed_checks += bool(lately.any() and told.failed[lately].mean() > USUAL + MARGIN)
        if failed_checks == FAILED_CHECKS:
            return float(check)
    return NEVER


def z_test(told: Told) -> float:
    ends = np.array([report.stop for report in told.reports()]) - 1
    arms = (told.challenger, ~told.challenger)
    units = [np.cumsum(arm)[ends] for arm in arms]
    failed = [np.cumsum(arm & told.failed)[ends] for arm in arms]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [k / n for k, n in zip(failed, units, strict=True)]
        variance = sum(m * (1 - m) / n for m, n in zip(means, units, strict=True))
        z = (means[0] - means[1] - MARGIN) / np.sqrt(variance)
    crossed = (units[0] >= LEAST) & (units[1] >= LEAST) & (z >= norm.ppf(1 - ALPHA))
    return float(told.at[ends[crossed.argmax()]]) if crossed.any() else NEVER


TESTS: dict[str, Callable[[Told], float]] = {
    "ours": ours,
    "as draws": as_draws,
    "fixed thresholds": fixed_threshold,
    "z-test": z_test,
}


# The tables


def harmless(rng: np.random.Generator, runs: int) -> dict[str, dict[str, float]]:
    """The share of rollouts that each test rolls back, where the challenger is no worse."""
    same = steady(USUAL, USUAL)
    cases: dict[str, Callable[[], Told]] = {
        "logs, equal": lambda: logged(rng, same),
        "scrapes, equal": lambda: scraped(rng, same),
        "logs, worse by just the margin": lambda: logged(rng, steady(USUAL, USUAL + MARGIN)),
        "logs, the mesh sends 10 %, not 20 %": lambda: logged(rng, same, share=0.1),
        "logs, four outages of both": lambda: logged(rng, outages(rng)),
        "scrapes, four outages of both": lambda: scraped(rng, outages(rng)),
    }
    found = {}
    for name, simulate in cases.items():
        rollouts = [simulate() for _ in range(runs)]
        found[name] = {
            test: round(float(np.mean([at(told) < NEVER for told in rollouts])), 4) for test, at in TESTS.items()
        }
    return found


def harmful(rng: np.random.Generator, runs: int) -> dict[str, dict[str, float]]:
    """Minutes until each test rolls back a challenger that is worse than the margin allows: medians."""
    found = {}
    for how, tell in (("logs", logged), ("scrapes", scraped)):
        for rate in (0.06, 0.12, 0.3):
            rollouts = [tell(rng, steady(USUAL, rate)) for _ in range(runs)]
            found[f"{how}, {rate:.0%} fail".replace("%", " %")] = {
                test: round(float(np.median([at(told) for told in rollouts])) / 60, 2)
                for test, at in TESTS.items()
                if at is not as_draws
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.told_apart", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts: under 50 s")
    quick = parser.parse_args().quick
    runs, timed = (20, 9) if quick else (100, 30)
    rng = np.random.default_rng(2025)

    false = harmless(rng, runs)
    print(
        f"Harmless challengers rolled back, of {runs} each; alpha {ALPHA:g}, {MINUTES} minutes at {PER_SECOND:g} "
        f"requests a second, {SHARE:.0%} of them the challenger's".replace("%", " %")
    )
    show(("case", *TESTS), [(name, *(f"{100 * share:.1f} %" for share in row.values())) for name, row in false.items()])

    found = harmful(rng, timed)
    print(f"\nMinutes until harm is found, {USUAL:.0%} of the champion's fail: medians of {timed}".replace("%", " %"))
    tests = list(next(iter(found.values())))
    show(("case", *tests), [(name, *map(minutes, row.values())) for name, row in found.items()])
    figures = {
        "false_rollbacks": false,
        "within_alpha": all(at_most_alpha(row["ours"], runs) for row in false.values()),
        "minutes": {
            name: {test: at if at < NEVER else None for test, at in row.items()} for name, row in found.items()
        },
    }
    print(json.dumps(figures))


def at_most_alpha(share: float, runs: int) -> bool:
    return bool(binomtest(round(share * runs), runs, ALPHA, alternative="greater").pvalue > 0.01)


def minutes(value: float) -> str:
    return f"{value:.1f}" if value < NEVER else "never"


if __name__ == "__main__":
    main()
