"""
The loss that labels tell of: whether the challenger's exceeds the champion's by more than the margin, or by less.

Two e-processes over the same losses, with opposite nulls: one proves harm, also such as begins late; the other proves
its absence, over all of the past, which promotion needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.core.records import Record
from trimtab.core.rollout import users
from trimtab.core.rollout.epochs import place
from trimtab.core.rollout.users import Request, Units, Users
from trimtab.core.rollout.values import RolloutSpec, WeightEpoch
from trimtab.core.sequential import betting, bounds, two_streams
from trimtab.core.sequential.betting import Bets
from trimtab.core.sequential.mixing import ANEW, Floats
from trimtab.core.sequential.two_streams import Flags, TwoStreams

SHOWN_ALPHA = 0.05  # of the interval that is shown beside the tests; it decides nothing


class LossEvidence(Record):
    """Where the two loss processes stand; e-values as natural logarithms."""

    weighted: bool = False  # by weighted traffic instead of pairs
    champion_units: int = 0  # pairs, or what each answered: requests, users
    challenger_units: int = 0
    champion_mean: float | None = None
    challenger_mean: float | None = None
    harm_log_e: float = 0.0  # against "worse by at most the margin"
    harm_peak: float = 0.0
    safe_log_e: float = 0.0  # against "worse by at least the margin"
    safe_peak: float = 0.0
    difference_low: float | None = None  # of the pairs' mean difference, to 95 % at all times at once
    difference_high: float | None = None
    mature: int = 0  # labels that count
    waiting: int = 0  # labels that have come and are not mature
    left_out: int = 0

    @property
    def labelled(self) -> bool:
        """Whether labels exist at all: without any, the loss is not judged."""
        return self.champion_units + self.mature + self.waiting > 0


def of_pairs(margin: float, champion: Floats, challenger: Floats) -> LossEvidence:
    """Both processes over pairs, in their order; losses in [0, 1]."""
    worse = np.asarray(challenger, dtype=np.float64) - np.asarray(champion, dtype=np.float64)
    harm = betting.update(Bets(margin=margin, anew=ANEW), worse)
    safe = betting.update(Bets(margin=-margin), -worse)
    low, high = bounds.interval((1 + worse) / 2, SHOWN_ALPHA) if len(worse) else (0.0, 1.0)
    return LossEvidence(
        champion_units=len(worse),
        challenger_units=len(worse),
        champion_mean=float(np.mean(champion)) if len(worse) else None,
        challenger_mean=float(np.mean(challenger)) if len(worse) else None,
        harm_log_e=harm.log_e,
        harm_peak=harm.peak,
        safe_log_e=safe.log_e,
        safe_peak=safe.peak,
        difference_low=2 * low - 1,
        difference_high=2 * high - 1,
    )


def of_weighted_traffic(
    spec: RolloutSpec,
    epochs: Sequence[WeightEpoch],
    at: Floats,
    challenger: Flags,
    loss: Floats,
    user: Sequence[str],
) -> LossEvidence:
    """
    Both processes over who answered what under which share, for labels that depend on the prediction.

    Requests come oldest first; under `stickyHeader` the user is the unit, as everywhere.
    """
    at, loss = np.asarray(at, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    challenger = np.asarray(challenger, dtype=np.bool_)
    placed = place(at, epochs)
    shared = (placed.share > 0) & (placed.share < 1)
    # Each variant's log comes in its own time: who has told of newer requests would seem to answer them all.
    shared &= at <= min(float(np.max(at[shared & arm], initial=0.0)) for arm in (challenger, ~challenger))
    if spec.policy.sticky_header is None:
        units = Units(challenger[shared], placed.share[shared], loss[shared], np.full(int(shared.sum()), np.nan))
    else:
        requests = [
            Request(user[i], at[i], int(placed.epoch[i]), epochs[placed.epoch[i]].weight_percent, arm, loss[i], None)
            for i, arm in zip(np.flatnonzero(shared).tolist(), challenger[shared].tolist(), strict=True)
        ]
        units = users.update(Users(), requests, users.window_seconds(spec.policy))[1]
    margin = spec.policy.analysis.max_loss_increase
    harm = two_streams.update(TwoStreams(margin=margin, anew=ANEW), units.challenger, units.failed, units.share)
    # The same streams with their parts exchanged: is the champion's loss lower by less than the margin?
    safe = two_streams.update(TwoStreams(margin=-margin), ~units.challenger, units.failed, 1 - units.share)
    return LossEvidence(
        weighted=True,
        champion_units=harm.champion_units,
        challenger_units=harm.challenger_units,
        champion_mean=harm.champion_mean,
        challenger_mean=harm.challenger_mean,
        harm_log_e=harm.log_e,
        harm_peak=harm.peak,
        safe_log_e=safe.log_e,
        safe_peak=safe.peak,
    )
