"""
How often a harmless challenger is rolled back, and how soon a harmful one: ours, fixed thresholds, a repeated z-test.

Simulated rollouts, looked at after every request. Fixed thresholds are as progressive delivery knows them: every 100
requests the challenger's own share of failures is checked against a limit, and five failed checks roll back. The z-test
compares both variants at every request, one-sided at alpha. Requests are medians beside an oracle: the growth-rate-
optimal test of the same null and margin that knows both rates. IPW is betting on inverse-propensity terms.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import binomtest, norm

from benchmarks import show
from trimtab.core.rollout import users
from trimtab.core.rollout.users import Request, Users
from trimtab.core.sequential import betting
from trimtab.core.sequential.alternatives import SIZE, WEIGHTS, nearest
from trimtab.core.sequential.mixing import ANEW, grown
from trimtab.core.sequential.two_streams import log_steps

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
ALPHA = 0.05
NEEDED = np.log(1 / ALPHA)
NEVER = 10**9
GOOD, LATE = (1_000, 20_000), 3_000  # requests before and after harm begins
AT_ONCE = 40  # rollouts: bounds memory
INTERVAL, FAILED_CHECKS = 100, 5  # of the fixed thresholds
LEAST = 30  # units of each variant before the z-test looks
RATES = (0.02, 0.10)
# Share, margin, requests simulated, at most so many times the oracle's.
DETECTION = (
    (0.5, 0.0, 1000, 1.5),
    (0.5, 0.01, 1300, 1.5),
    (0.1, 0.0, 2500, 1.7),
    (0.1, 0.01, 4000, 1.7),
    (0.05, 0.01, 6500, 2.2),
)


@dataclass(frozen=True)
class Rollouts:
    """Many rollouts at once, arrays of shape (rollouts, units): who answered, what came of it, the share then."""

    challenger: Flags
    values: Floats
    shares: Floats

    def parts(self) -> list[Rollouts]:
        cuts = range(0, len(self.challenger), AT_ONCE)
        return [
            Rollouts(self.challenger[i : i + AT_ONCE], self.values[i : i + AT_ONCE], self.shares[i : i + AT_ONCE])
            for i in cuts
        ]


# The tests: at which unit each rolls back


def ours(rollouts: Rollouts, margin: float, anew: float = ANEW) -> Floats:
    found = []
    for part in rollouts.parts():
        steps = log_steps(part.challenger.ravel(), part.values.ravel(), part.shares.ravel(), margin)
        begin = np.zeros((len(part.challenger), SIZE))
        paths = grown(begin, steps.reshape(*part.challenger.shape, SIZE), WEIGHTS, anew, 0)[1]
        found.append(first(paths >= NEEDED))
    return np.concatenate(found)


def oracle(rollouts: Rollouts, margin: float, share: float) -> Floats:
    champion, challenger = RATES
    p = float(nearest(np.array([champion]), np.array([challenger]), share, margin)[0])
    failed = rollouts.values == 1
    b = np.where(failed, challenger / p, (1 - challenger) / (1 - p))
    a = np.where(failed, champion / (p - margin), (1 - champion) / (1 - p + margin))
    return first(np.cumsum(np.log(np.where(rollouts.challenger, b, a)), axis=1) >= NEEDED)


def ipw_betting(rollouts: Rollouts, margin: float, share: float) -> Floats:
    """Waudby-Smith & Ramdas: a predictable stake (aGRAPA) on (y - m)/share of the challenger, -y/(1 - share) else."""
    z = np.where(rollouts.challenger, (rollouts.values - margin) / share, -rollouts.values / (1 - share))
    before = np.arange(z.shape[1])
    mean = (np.cumsum(z, axis=1) - z) / (before + 1)
    square = (np.cumsum(z**2, axis=1) - z**2 + 0.25) / (before + 1)
    stake = np.clip(mean / square, 0, 0.5 / max(margin / share, 1 / (1 - share)))
    return first(np.cumsum(np.log1p(stake * z), axis=1) >= NEEDED)


def repeated_z_test(rollouts: Rollouts, margin: float) -> Floats:
    b, a = rollouts.challenger, ~rollouts.challenger
    units = [np.cumsum(arm, axis=1) for arm in (b, a)]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [np.cumsum(rollouts.values * arm, axis=1) / n for arm, n in zip((b, a), units, strict=True)]
        squares = [np.cumsum(rollouts.values**2 * arm, axis=1) / n for arm, n in zip((b, a), units, strict=True)]
        variance = sum((s - m**2) / n for s, m, n in zip(squares, means, units, strict=True))
        z = (means[0] - means[1] - margin) / np.sqrt(variance)
    looked = (units[0] >= LEAST) & (units[1] >= LEAST)
    return first(looked & (z >= norm.ppf(1 - ALPHA)))


def fixed_threshold(rollouts: Rollouts, limit: float) -> Floats:
    """The challenger's own mean in each interval against a limit."""
    intervals = rollouts.values.shape[1] // INTERVAL
    shape = (len(rollouts.values), intervals, INTERVAL)
    arms = rollouts.challenger[:, : intervals * INTERVAL].reshape(shape)
    values = (rollouts.values * rollouts.challenger)[:, : intervals * INTERVAL].reshape(shape)
    seen = arms.sum(axis=2)
    failed = (values.sum(axis=2) > limit * seen) & (seen > 0)
    return first(np.cumsum(failed, axis=1) >= FAILED_CHECKS) * INTERVAL


def paired(differences: Floats, margin: float, anew: float = ANEW) -> Floats:
    found = []
    for start in range(0, len(differences), AT_ONCE):
        part = differences[start : start + AT_ONCE]
        steps = np.log1p(((part - margin) / max(1 + margin, betting.LEAST_SPAN))[..., None] * betting.STAKES)
        paths = grown(np.zeros((len(part), len(betting.STAKES))), steps, betting.WEIGHTS, anew, 0)[1]
        found.append(first(paths >= NEEDED))
    return np.concatenate(found)


def first(crossed: Flags) -> Floats:
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1.0, NEVER)


# The rollouts


def canary(rng: np.random.Generator, runs: int, requests: int) -> tuple[Flags, Floats]:
    shares = np.broadcast_to(np.repeat([0.05, 0.25, 0.5], requests // 3), (runs, requests // 3 * 3))
    return rng.random(shares.shape) < shares, shares


def equal(rng: np.random.Generator, runs: int) -> Rollouts:
    arms, shares = canary(rng, runs, 1500)
    return Rollouts(arms, (rng.random(arms.shape) < RATES[0]).astype(float), shares)


def on_the_edge(rng: np.random.Generator, runs: int) -> Rollouts:
    arms, shares = canary(rng, runs, 1500)
    return Rollouts(arms, (rng.random(arms.shape) < RATES[0] + 0.01 * arms).astype(float), shares)


def slower_together(rng: np.random.Generator, runs: int) -> Rollouts:
    """Beyond 50 ms: 1 % of the requests, and after a third of the rollout 5 %."""
    arms, shares = canary(rng, runs, 1500)
    factor = np.where(np.arange(arms.shape[1]) >= 500, 1.3, 1.0)
    return Rollouts(arms, (rng.lognormal(np.log(20), 0.4, arms.shape) * factor > 50).astype(float), shares)


def hard_hours(rng: np.random.Generator, runs: int) -> tuple[Floats, Floats]:
    """Losses of both on the same rows, autocorrelated at .9; the challenger's is higher by the margin in hard ones."""
    noise = rng.normal(size=(runs, 1000)) * np.sqrt(1 - 0.81)
    noise[:, 0] /= np.sqrt(1 - 0.81)
    hard = norm.cdf(lfilter([1.0], [1.0, -0.9], noise, axis=1)) * 0.6
    champion = hard + rng.uniform(0, 0.2, hard.shape)
    return champion, hard + rng.uniform(0, 0.2, hard.shape) + 0.02 * (hard > 0.3)


def sticky(rng: np.random.Generator, runs: int) -> tuple[Rollouts, list[Rollouts]]:
    """200 users of unequal activity, each with a failure ratio of their own: by the request, and by the user."""
    people, requests = 200, 500
    by_request, by_user = [], []
    for _ in range(runs):
        activity, rate = rng.lognormal(0, 1.5, people), rng.beta(0.3, 2.0, people)
        arm = rng.random(people) < 0.5
        who = rng.choice(people, requests, p=activity / activity.sum())
        failed = (rng.random(requests) < rate[who]).astype(float)
        by_request.append((arm[who], failed))
        asked = [
            Request(f"u{user}", 20.0 * i, 0, 50, bool(arm[user]), fault, None)
            for i, (user, fault) in enumerate(zip(who.tolist(), failed.tolist(), strict=True))
        ]
        _, units, _ = users.update(Users(), asked, 600.0)
        by_user.append(Rollouts(units.challenger[None], units.failed[None], units.share[None]))
    arms, values = (np.array(column) for column in zip(*by_request, strict=True))
    return Rollouts(arms, values, np.full(arms.shape, 0.5)), by_user


# The tables


def false_rollbacks(runs: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    cases: dict[str, tuple[Rollouts, float, float]] = {
        "equal, 2 % errors": (equal(rng, runs), 0.01, RATES[0] + 0.01),
        "equal, no margin": (equal(rng, runs), 0.0, RATES[0] + 0.01),
        "worse by just the margin": (on_the_edge(rng, runs), 0.01, RATES[0] + 0.01),
        "both 30 % slower together": (slower_together(rng, runs), 0.0, 0.02),
    }
    for name, (rollouts, margin, limit) in cases.items():
        found[name] = {
            "ours": share_of(ours(rollouts, margin)),
            "fixed": share_of(fixed_threshold(rollouts, limit)),
            "z": share_of(repeated_z_test(rollouts, margin)),
        }
    by_request, by_user = sticky(rng, runs)
    found["200 sticky users"] = {
        "ours": share_of(np.concatenate([ours(each, 0.0) for each in by_user])),
        "fixed": share_of(fixed_threshold(by_request, 0.15)),
        "z": share_of(repeated_z_test(by_request, 0.0)),
    }
    champion, challenger = hard_hours(rng, runs)
    alone = Rollouts(np.ones(challenger.shape, dtype=np.bool_), challenger, np.ones(challenger.shape))
    both = Rollouts(
        np.tile([True, False], (runs, challenger.shape[1])),
        np.stack([challenger, champion], axis=2).reshape(runs, -1),
        np.full((runs, 2 * challenger.shape[1]), 0.5),
    )
    found["hours hard for both (loss)"] = {
        "ours": share_of(paired(challenger - champion, 0.02)),
        "fixed": share_of(fixed_threshold(alone, 0.42)),
        "z": share_of(repeated_z_test(both, 0.02)),
    }
    return found


def detection(runs: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    found = {}
    for share, margin, requests, at_most in DETECTION:
        arms = rng.random((runs, requests)) < share
        values = (rng.random(arms.shape) < np.where(arms, RATES[1], RATES[0])).astype(float)
        rollouts = Rollouts(arms, values, np.full(arms.shape, share))
        best = float(np.median(oracle(rollouts, margin, share)))
        mine = float(np.median(ours(rollouts, margin)))
        found[f"{100 * share:g} %, margin {margin:g}"] = {
            "oracle": best,
            "ours": mine,
            "ratio": round(mine / best, 3),
            "at_most": at_most,
            "ipw": float(np.median(ipw_betting(rollouts, margin, share))),
            "fixed": float(np.median(fixed_threshold(rollouts, RATES[0] + max(margin, 0.01)))),
        }
    return found


def late_harm(runs: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Requests from the beginning of harm, 0 for an alarm before it; `once` bets all of the wealth from the start."""
    found = {}
    for good in GOOD:
        for rate in (0.3, 1.0):
            arms = rng.random((runs, good + LATE)) < 0.5
            begun = arms & (np.arange(good + LATE) >= good)
            values = (rng.random(arms.shape) < np.where(begun, rate, RATES[0])).astype(float)
            rollouts = Rollouts(arms, values, np.full(arms.shape, 0.5))
            tests = {
                "ours": ours(rollouts, 0.01),
                "once": ours(rollouts, 0.01, anew=0.0),
                "fixed": fixed_threshold(rollouts, RATES[0] + 0.01),
            }
            after = {name: np.where(at > good, at - good, 0) for name, at in tests.items()}
            found[f"{good:,} good ones, then {rate:.0%} fail".replace("%", " %")] = {
                name: float(np.median(at)) for name, at in after.items()
            }
    return found


def losses(runs: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """0/1 losses of 10 % against 2 % on the same rows, with maxLossIncrease .02."""
    found = {}
    for name, shared in (("errors hang together", 0.5), ("errors are independent", RATES[1])):
        champion = rng.random((runs, 9000)) < RATES[0]
        rest = (RATES[1] - shared * RATES[0]) / (1 - RATES[0])
        challenger = rng.random(champion.shape) < np.where(champion, shared, rest)
        pairs = float(np.median(paired(challenger[:, :1500].astype(float) - champion[:, :1500], 0.02)))
        arms = rng.random(champion.shape) < 0.1
        weighted = Rollouts(arms, np.where(arms, challenger, champion).astype(float), np.full(arms.shape, 0.1))
        mine, ipw = (float(np.median(test)) for test in (ours(weighted, 0.02), ipw_betting(weighted, 0.02, 0.1)))
        found[name] = {"pairs": pairs, "weighted": mine, "ipw": ipw}
    return found


def promoted(runs: int, rng: np.random.Generator) -> float:
    """How often a challenger at twice maxLossIncrease is shown harmless, in 2,000 pairs."""
    champion, challenger = rng.random((runs, 2000)) < 0.10, rng.random((runs, 2000)) < 0.14
    return share_of(paired(champion.astype(float) - challenger, -0.02, anew=0.0))


def share_of(found: Floats) -> float:
    return round(float((found < NEVER).mean()), 5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequential_tests", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts: under 50 s")
    quick = parser.parse_args().quick
    runs, timed = (400, 200) if quick else (2000, 1000)
    rng = np.random.default_rng(2024)

    false = false_rollbacks(runs, rng)
    print(f"Harmless challengers rolled back, of {runs:,} each; alpha {ALPHA:g}, looked at after every request")
    show(
        ("case", "ours", "fixed thresholds", "z-test"),
        [(name, *map(percent, row.values())) for name, row in false.items()],
    )
    within = all(
        binomtest(round(row["ours"] * runs), runs, ALPHA, alternative="greater").pvalue > 0.01 for row in false.values()
    )

    found = detection(timed, rng)
    print(
        f"\nRequests until {RATES[1]:.0%} errors against {RATES[0]:.0%} are found: medians of {timed:,}".replace(
            "%", " %"
        )
    )
    header = ("challenger's share", "oracle", "ours", "ratio", "at most", "IPW betting", "fixed thresholds")
    show(header, [(name, *(count(value) for value in row.values())) for name, row in found.items()])

    late = late_harm(timed // 5, rng)
    print(f"\nRequests until harm that begins late is found, share 50 %, margin 0.01: medians of {timed // 5}")
    header = ("", "ours", "begun once", "fixed thresholds")
    show(
        header,
        [(name, *(count(value) if value else "too early" for value in row.values())) for name, row in late.items()],
    )

    loss = losses(timed, rng)
    print("\nThe same harm in the loss, margin .02: pairs by replay against weighted traffic at 10 %")
    header = ("", "pairs", "weighted, ours", "weighted, IPW")
    show(header, [(name, *(count(value) for value in row.values())) for name, row in loss.items()])

    twice = promoted(runs, rng)
    print(f"\nChallengers at twice maxLossIncrease shown harmless: {percent(twice)}")
    figures = {
        "false_rollbacks": false,
        "within_alpha": within,
        "detection": found,
        "detection_met": all(row["ratio"] <= row["at_most"] for row in found.values()),
        "late_harm": late,
        "losses": loss,
        "twice_promoted": twice,
    }
    print(json.dumps(figures))


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def count(value: float) -> str:
    return "never" if value >= NEVER else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
