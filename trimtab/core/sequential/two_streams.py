"""
Does the challenger's stream have a higher mean than the champion's, by more than a margin?

Null: at every time, whatever came before, theta_b <= theta_a + margin, where theta_a and theta_b are the expected
values of the next unit if the champion or the challenger answers it. Who does is drawn with a known share. Against one
alternative (q_a, q_b) the growth-rate-optimal e-variable is the likelihood ratio to the point of the null that is
nearest to it in information, and with p = p_b that point's challenger rate it is a bet with a centre and a stake:

    challenger  1 + s (y - p)                                    s = (q_b - p) / (p (1 - p))
    champion    1 - s share / (1 - share) (y - (p - margin))

Its expectation is at most 1 for all rates of the null, also of values between 0 and 1, and also while rates and share
vary over time. The alternative is not known, so a grid of them is bet on side by side.

Source: Turner, Ly & Gruenwald, "Generic E-variables for exact sequential k-sample tests", 2024 (also in blocks of given
sizes, as `update_block`); Gruenwald, de Heide & Koolen, "Safe testing", JRSS-B 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.core.records import Record
from trimtab.core.sequential import mixing
from trimtab.core.sequential.alternatives import SIZE, WEIGHTS, bets
from trimtab.core.sequential.mixing import Floats

CHUNK = 20_000  # units at a time: bounds memory
Flags = NDArray[np.bool_]


class TwoStreams(Record):
    """
    An e-process against "the challenger's mean exceeds the champion's by at most `margin`"; JSON of about 1 kB.

    `anew` is the share of the wealth that begins to bet later (`mixing`).
    """

    margin: float
    anew: float = 0.0
    log_wealth: tuple[float, ...] = (0.0,) * SIZE  # by alternative
    peak: float = 0.0  # highest log e-value so far, at least that of the start
    champion_units: int = 0
    champion_total: float = 0.0
    challenger_units: int = 0
    challenger_total: float = 0.0

    @property
    def log_e(self) -> float:
        """Natural log of the e-value now."""
        return float(mixing.log_e(np.array(self.log_wealth), WEIGHTS, self.anew, self.units))

    @property
    def units(self) -> int:
        return self.champion_units + self.challenger_units

    @property
    def champion_mean(self) -> float | None:
        return self.champion_total / self.champion_units if self.champion_units else None

    @property
    def challenger_mean(self) -> float | None:
        return self.challenger_total / self.challenger_units if self.challenger_units else None


def update(streams: TwoStreams, challenger: Flags, values: Floats, shares: Floats) -> TwoStreams:
    """
    The e-process after these units, in order.

    `update(update(streams, a), b)` equals `update(streams, a + b)`.

    Args:
        streams: The e-process so far.
        challenger: Whether the challenger answered, shape (units,).
        values: 1 for a failed request and 0 for another, or a user's share of them, in [0, 1], shape (units,).
        shares: Chance with which the challenger was to answer, in [0, 1], shape (units,). Units of share 0 or 1 are
            no comparison: they are counted and change nothing.

    Raises:
        ValueError: If a value or a share lies outside [0, 1].
    """
    values, shares = np.asarray(values, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    challenger = np.asarray(challenger, dtype=np.bool_)
    for what, given in (("value", values), ("share", shares)):
        if not ((given >= 0) & (given <= 1)).all():
            raise ValueError(f"a {what} lies in [0, 1]")
    logs, peak = np.array(streams.log_wealth), streams.peak
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        steps = log_steps(challenger[part], values[part], shares[part], streams.margin)
        logs, path = mixing.grown(logs, steps, WEIGHTS, streams.anew, streams.units + start)
        peak = max(peak, float(path.max()))
    return TwoStreams(
        margin=streams.margin,
        anew=streams.anew,
        log_wealth=tuple(logs.tolist()),
        peak=peak,
        champion_units=streams.champion_units + int((~challenger).sum()),
        champion_total=_added(streams.champion_total, values[~challenger]),
        challenger_units=streams.challenger_units + int(challenger.sum()),
        challenger_total=_added(streams.challenger_total, values[challenger]),
    )


def update_block(streams: TwoStreams, champion: tuple[int, int], challenger: tuple[int, int]) -> TwoStreams:
    """
    The e-process after a block of units whose order is not known, such as what two counters gained.

    The block is compared at its own share, nb units of the challenger to na of the champion, and that share need not
    be known before nor be the one that was asked for: given na and nb, the logs of the bets' expectations add up to at
    most s nb (theta_b - theta_a - margin), by log(1 + x) <= x, with means over the block. It is looked at once, when it
    is complete. A block of one variant alone is no comparison: it is counted and changes nothing.

    Args:
        streams: The e-process so far.
        champion, challenger: How many units each has in the block, and how many of them are 1; the others are 0.

    Raises:
        ValueError: If more units are 1 than there are.
    """
    for units, ones in (champion, challenger):
        if not 0 <= ones <= units:
            raise ValueError(f"found {ones} of {units} units")
    logs = np.array(streams.log_wealth)
    if champion[0] and challenger[0]:
        shares = np.array([challenger[0] / (champion[0] + challenger[0])])
        kinds, values = np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 0.0, 1.0])
        times = [count for units, ones in (champion, challenger) for count in (units - ones, ones)]
        logs += (np.array(times)[:, None] * _log_steps(kinds, values, shares, streams.margin)).sum(axis=0)
    log_e = float(mixing.log_e(logs, WEIGHTS, streams.anew, streams.units))
    logs = mixing.begun(logs, streams.anew, streams.units, streams.units + champion[0] + challenger[0])
    return streams.model_copy(
        update={
            "log_wealth": tuple(logs.tolist()),
            "peak": max(streams.peak, log_e),
            "champion_units": streams.champion_units + champion[0],
            "champion_total": streams.champion_total + champion[1],
            "challenger_units": streams.challenger_units + challenger[0],
            "challenger_total": streams.challenger_total + challenger[1],
        }
    )


def log_steps(challenger: Flags, values: Floats, shares: Floats, margin: float) -> Floats:
    """What each unit adds to the log of each alternative's e-value, shape (units, alternatives)."""
    distinct, which = np.unique(shares, return_inverse=True)
    kind = 2 * which + challenger
    if ((values == 0) | (values == 1)).all():
        # Nearly always: then there are only a few different steps.
        kinds = np.arange(2 * len(distinct))
        table = np.stack([_log_steps(kinds, np.full(len(kinds), y), distinct, margin) for y in (0.0, 1.0)])
        found: Floats = table[values.astype(np.intp), kind]
        return found
    return _log_steps(kind, values, distinct, margin)


def _log_steps(kind: NDArray[np.intp], values: Floats, shares: Floats, margin: float) -> Floats:
    """`kind` is twice the index of the share, and one more for the challenger."""
    centres, slopes = np.empty((2 * len(shares), SIZE)), np.empty((2 * len(shares), SIZE))
    for index, share in enumerate(shares):
        centre, stake = bets(float(share), margin)
        # The champion's side of the bet is as large as the challenger's is in the mean.
        odds = share / (1 - share) if share < 1 else 0.0
        centres[2 * index], slopes[2 * index] = centre - margin, -odds * stake
        centres[2 * index + 1], slopes[2 * index + 1] = centre, stake
    steps: Floats = np.log1p(slopes[kind] * (values[:, None] - centres[kind]))
    return steps


def _added(total: float, values: Floats) -> float:
    return float(np.cumsum(np.concatenate([[total], values]))[-1])
