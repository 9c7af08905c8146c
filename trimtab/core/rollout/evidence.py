"""
What a rollout has measured so far, as one small JSON value, and how each kind of measurement enters it.

Live traffic tells of errors and latency, both variants at once. Mirrored requests tell of failures, pair by pair.
Labels tell of the loss: on pairs by replay, or on weighted traffic where the answer changes the outcome. What is left
out is counted, by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from trimtab.core.ports import Answer
from trimtab.core.records import Record
from trimtab.core.rollout import blocks, live, losses, mirrored, users
from trimtab.core.rollout.blocks import Block, Blocks
from trimtab.core.rollout.live import Counts, Traffic
from trimtab.core.rollout.losses import LossEvidence
from trimtab.core.rollout.mirrored import Mirrored
from trimtab.core.rollout.users import Users
from trimtab.core.rollout.values import RolloutSpec, WeightEpoch
from trimtab.core.sequential import two_streams
from trimtab.core.sequential.betting import Bets
from trimtab.core.sequential.mixing import ANEW, Floats
from trimtab.core.sequential.two_streams import Flags, TwoStreams


@dataclass(frozen=True)
class LossPairs:
    """
    Champion and challenger on the same logged rows whose labels are mature, in a fixed order.

    Losses lie in [0, 1]: 0/1 error of classes, of numbers min(1, absolute error / `RolloutSpec.loss_scale`). A later
    call holds the same pairs in the same order and new ones behind them, but for corrections.
    """

    champion: Floats
    challenger: Floats
    mature: int = 0  # logged rows whose label is mature
    waiting: int = 0  # logged rows whose label has come and is not mature yet
    left_out: int = 0  # logged rows with a mature label that one of the two has learned, or could not score


@dataclass(frozen=True)
class LiveLosses:
    """
    The loss of each answer that the gateway returned, for `dependOnPrediction`; one entry a request, oldest first.

    `loss` is the mean over the request's rows, in [0, 1]. `user` is the sticky header's value, empty without one.
    """

    at: Floats
    challenger: Flags
    loss: Floats
    user: Sequence[str] = ()
    mature: int = 0
    waiting: int = 0
    left_out: int = 0


class Evidence(Record):
    """All that a rollout has measured; JSON of 2 to 4 kB, with sticky users at most 120."""

    errors: TwoStreams
    latency: TwoStreams | None = None  # None: latency is not judged
    mirrored: Mirrored
    loss: LossEvidence
    counts: tuple[Counts, ...] = ()  # of requests, by weight epoch
    warm: tuple[int, int] = (0, 0)  # requests that champion and challenger answered since their process began
    users: Users | None = None  # under stickyHeader
    blocks: Blocks | None = None  # where each variant tells of its own requests
    left_out: dict[str, int] = Field(default_factory=dict)  # requests that do not count, by reason


def begin(spec: RolloutSpec, told_apart: bool = False) -> Evidence:
    """Nothing measured yet; `told_apart` as `ports.TrafficSplit` has it."""
    analysis = spec.policy.analysis
    judged = spec.max_latency_milliseconds is not None
    return Evidence(
        errors=TwoStreams(margin=analysis.max_error_ratio_increase, anew=ANEW),
        latency=TwoStreams(margin=analysis.max_latency_exceedance_increase, anew=ANEW) if judged else None,
        mirrored=Mirrored(bets=Bets(margin=analysis.max_error_ratio_increase, anew=ANEW)),
        loss=LossEvidence(weighted=spec.depend_on_prediction),
        users=Users() if spec.policy.sticky_header is not None else None,
        blocks=Blocks() if told_apart else None,
    )


def with_answers(
    evidence: Evidence, spec: RolloutSpec, answers: Sequence[Answer], epochs: Sequence[WeightEpoch]
) -> Evidence:
    """
    Live traffic: failures, and answers slower than `max_latency_milliseconds`, of both variants at once.

    Each answer is given once, oldest first; in how many calls changes nothing.

    Args:
        evidence: So far.
        spec: Of the rollout.
        answers: What the router logged since the last call.
        epochs: All splits of the traffic so far, in order; later calls hold the same ones and new ones behind them.
    """
    seen = live.traffic(spec, answers, epochs, evidence.warm)
    left_out = Counter(evidence.left_out)
    left_out.update(seen.left_out)
    evidence = evidence.model_copy(update={"warm": seen.warm, "left_out": dict(+left_out)})
    if evidence.blocks is not None:
        return _in_blocks(evidence, evidence.blocks, seen, len(epochs))
    return _one_by_one(evidence, spec, seen, len(epochs))


def _one_by_one(evidence: Evidence, spec: RolloutSpec, seen: Traffic, epochs: int) -> Evidence:
    units, known, left_out = seen.units, evidence.users, Counter(evidence.left_out)
    if known is not None:
        known, units, outside = users.update(known, seen.requests(), users.window_seconds(spec.policy))
        left_out.update(beyondWindow=outside)
    latency = evidence.latency
    if latency is not None:
        timed = ~np.isnan(units.slow)
        latency = two_streams.update(latency, units.challenger[timed], units.slow[timed], units.share[timed])
    return evidence.model_copy(
        update={
            "errors": two_streams.update(evidence.errors, units.challenger, units.failed, units.share),
            "latency": latency,
            "users": known,
            "counts": live.counted(evidence.counts, seen, np.ones_like(seen.challenger), epochs),
            "left_out": dict(+left_out),
        }
    )


def _in_blocks(evidence: Evidence, waiting: Blocks, seen: Traffic, epochs: int) -> Evidence:
    counts = live.counted(evidence.counts, seen, ~seen.shared, epochs)
    return _with_blocks(evidence.model_copy(update={"counts": counts}), *blocks.take(waiting, seen))


def with_rest(evidence: Evidence) -> Evidence:
    """With what waits to be compared, as far as both variants have told of it: the same object where nothing does."""
    waiting, complete = blocks.rest(evidence.blocks) if evidence.blocks is not None else (None, [])
    return _with_blocks(evidence, waiting, complete) if complete else evidence


def _with_blocks(evidence: Evidence, waiting: Blocks | None, complete: Sequence[Block]) -> Evidence:
    errors, latency = evidence.errors, evidence.latency
    for block in complete:
        errors = two_streams.update_block(errors, block.charged[:2], block.challenger[:2])
        if latency is not None:
            latency = two_streams.update_block(latency, block.charged[2:], block.challenger[2:])
    counts = blocks.counted(evidence.counts, complete)
    return evidence.model_copy(update={"errors": errors, "latency": latency, "counts": counts, "blocks": waiting})


def with_restart(evidence: Evidence, spec: RolloutSpec, version: int) -> Evidence:
    """A process of this version began anew: its first requests do not count for latency."""
    champion, challenger = evidence.warm
    warm = (0 if version == spec.champion else champion, 0 if version == spec.version else challenger)
    return evidence.model_copy(update={"warm": warm})


def with_shadow(
    evidence: Evidence, spec: RolloutSpec, challenger: Sequence[Answer], champion: Sequence[Answer]
) -> Evidence:
    """
    Mirrored requests, paired by request id; a half without its other waits for a later call.

    Args:
        evidence: So far.
        spec: Of the rollout.
        challenger: Its answers to copies, from its own log; each given once.
        champion: The gateway's answers; each given once.
    """
    after, given_up = mirrored.update(
        evidence.mirrored,
        [answer for answer in challenger if answer.version == spec.version],
        [answer for answer in champion if answer.version == spec.champion],
    )
    left_out = Counter(evidence.left_out)
    left_out.update(unpaired=given_up)
    warm = (evidence.warm[0], min(evidence.warm[1] + len(challenger), live.WARM_UP))
    return evidence.model_copy(update={"mirrored": after, "warm": warm, "left_out": dict(+left_out)})


def with_losses(evidence: Evidence, spec: RolloutSpec, pairs: LossPairs) -> Evidence:
    """The loss on all pairs there are, computed anew: a corrected label recomputes."""
    loss = losses.of_pairs(spec.policy.analysis.max_loss_increase, pairs.champion, pairs.challenger)
    return _with_loss(evidence, loss, pairs)


def with_live_losses(
    evidence: Evidence, spec: RolloutSpec, given: LiveLosses, epochs: Sequence[WeightEpoch]
) -> Evidence:
    """The loss on weighted traffic, for `dependOnPrediction`: all of it, computed anew."""
    loss = losses.of_weighted_traffic(spec, epochs, given.at, given.challenger, given.loss, given.user)
    return _with_loss(evidence, loss, given)


def _with_loss(evidence: Evidence, loss: LossEvidence, given: LossPairs | LiveLosses) -> Evidence:
    counts = {"mature": given.mature, "waiting": given.waiting, "left_out": given.left_out}
    return evidence.model_copy(update={"loss": loss.model_copy(update=counts)})
