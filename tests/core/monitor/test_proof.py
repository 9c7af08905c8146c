"""Proof that a champion is worse than allowed: rare where it is not, quick where it is, about the newest rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from trimtab.core.metrics import METRICS
from trimtab.core.monitor.proof import badness, block_badness, from_badness, lower_bound, prove, rows_a_block
from trimtab.core.scoring import Floats, Prediction

ALPHA = 0.05
AUC = METRICS["roc_auc"]


def ranked(rows: int, auc: float, seed: int) -> tuple[Floats, Prediction]:
    """Labels, a fifth of them positive, and scores that rank them with this AUC."""
    random = np.random.default_rng(seed)
    y = (random.random(rows) < 0.2).astype(float)
    score = random.normal(size=rows) + norm.ppf(auc) * math.sqrt(2) * y
    share = 1 / (1 + np.exp(-score))
    return y, Prediction((share > 0.5).astype(float), np.stack([1 - share, share], axis=1), True, 2)


def first_proof(blocks: Floats, limit: float, window: int, every: int = 1) -> int | None:
    """
    After how many blocks it is proven, when one looks after each `every` of them.

    A proof stands for as long as its e-process lives: to look every half window misses nothing that is proven between.
    """
    for seen in range(every, len(blocks) + 1, every):
        if prove(blocks[:seen], limit, window, ALPHA).crossed:
            return seen
    return None


def test_a_champion_exactly_at_the_limit_is_hardly_ever_accused_however_often_one_looks() -> None:
    """Badness of blocks at the limit in the mean: noisy, skewed, and looked at after each of 400 blocks."""
    streams = 40
    random = np.random.default_rng(5)
    noise = {
        "normal": 0.35 + 0.08 * random.normal(size=(streams, 400)),
        "skewed": 0.35 * random.gamma(2.0, 0.5, size=(streams, 400)),
        "coins": (random.random((streams, 400)) < 0.35).astype(float),
    }
    for name, blocks in noise.items():
        accused = sum(first_proof(np.maximum(row, 0), 0.35, 100, every=50) is not None for row in blocks)
        assert accused <= 7, name  # 40 x 5 % = 2; eight or more come with a chance below 0.1 %


@pytest.mark.parametrize(("auc", "within"), [(0.58, 3000), (0.55, 2000)])
def test_a_champion_that_ranks_worse_is_found_within_its_window(auc: float, within: int) -> None:
    found = []
    for seed in range(9):
        y, prediction = ranked(5000, auc, seed)
        blocks = block_badness(AUC, y, prediction, rows_a_block(5000))
        found.append(first_proof(blocks, badness(AUC, 0.65), 100, every=10))
    assert all(found)
    assert np.median([50 * number for number in found if number]) <= within


def test_the_bound_is_beyond_the_limit_exactly_where_it_is_proven() -> None:
    random = np.random.default_rng(2)
    for mean in (0.2, 0.3, 0.36, 0.4, 0.6):
        blocks = np.clip(mean + 0.1 * random.normal(size=90), 0, 1)
        proof = prove(blocks, 0.35, 200, ALPHA)
        assert proof.crossed == (proof.bound > 0.35)
        assert proof.bound < mean + 0.05


def test_what_is_proven_is_about_the_newest_rows() -> None:
    """A bad stretch that was never acted on stops counting when it is a window old."""
    bad, good = np.full(60, 0.6), np.full(200, 0.2)
    recent, old = np.concatenate([bad, good[:20]]), np.concatenate([bad, good])

    assert prove(recent, 0.35, 100, ALPHA).crossed
    assert not prove(old, 0.35, 100, ALPHA).crossed


def test_a_decay_long_after_the_start_is_found() -> None:
    random = np.random.default_rng(3)
    good = 0.3 + 0.05 * random.normal(size=500)
    bad = 0.45 + 0.05 * random.normal(size=60)

    assert first_proof(good, 0.35, 100, every=50) is None
    assert prove(np.concatenate([good, bad]), 0.35, 100, ALPHA).crossed


def test_nothing_is_known_of_no_rows() -> None:
    assert prove(np.empty(0), 0.35, 100, ALPHA) == prove(np.empty(0), math.inf, 100, ALPHA)
    assert lower_bound(np.empty(0), 3.0) == 0.0


@pytest.mark.parametrize(
    ("name", "value", "bad"), [("roc_auc", 0.7, 0.3), ("accuracy", 1.0, 0.0), ("log_loss", 0.4, 0.4), ("r2", -1.0, 2.0)]
)
def test_every_metric_is_turned_so_that_greater_is_worse(name: str, value: float, bad: float) -> None:
    metric = METRICS[name]
    assert badness(metric, value) == pytest.approx(bad)
    assert from_badness(metric, badness(metric, value)) == pytest.approx(value)


def test_of_r2_blocks_share_the_variance_of_all_rows() -> None:
    random = np.random.default_rng(4)
    y = np.repeat(np.arange(20.0), 20)  # each block is constant: its own r2 says nothing
    prediction = Prediction(y + random.normal(size=400))
    blocks = block_badness(METRICS["r2"], y, prediction, 20)

    assert blocks.mean() == pytest.approx(1 - METRICS["r2"].compute(y, prediction))


def test_blocks_that_leave_a_metric_undefined_are_left_out() -> None:
    y, prediction = ranked(100, 0.7, 0)
    y[:50] = 0
    assert len(block_badness(AUC, y, prediction, 50)) == 1
