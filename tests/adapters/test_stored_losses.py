"""Losses of a rollout in the state: what the monitor scored is what the controller reads, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.adapters.stored_losses import AGAIN_SECONDS, LossWriter, NewLosses, losses_key, read_losses
from trimtab.core.errors import Conflict, Invalid
from trimtab.core.rollout.evidence import LiveLosses, LossPairs


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(MemoryBuckets(), "s3://state/shop", "flights", cache=tmp_path)


def pairs(rows: int, seed: int = 0) -> LossPairs:
    draw = np.random.default_rng(seed)
    return LossPairs(draw.random(rows), draw.random(rows), mature=rows + 2, waiting=3, left_out=2)


def test_pairs_come_back_as_they_were_scored(state: State) -> None:
    given = pairs(1000)
    LossWriter(state).write(3, given)
    found = read_losses(state, 3)
    assert isinstance(found, LossPairs)
    assert np.array_equal(found.champion, given.champion)
    assert np.array_equal(found.challenger, given.challenger)
    assert (found.mature, found.waiting, found.left_out) == (1002, 3, 2)
    assert read_losses(state, 4) is None


def test_losses_on_weighted_traffic_come_back_with_their_users(state: State) -> None:
    given = LiveLosses(
        at=np.array([1.5, 2.25]),
        challenger=np.array([True, False]),
        loss=np.array([0.0, 1.0]),
        user=["ann", ""],
        mature=2,
    )
    LossWriter(state).write(1, given)
    found = read_losses(state, 1)
    assert isinstance(found, LiveLosses)
    assert found.at.tolist() == [1.5, 2.25]
    assert found.challenger.tolist() == [True, False]
    assert found.loss.tolist() == [0.0, 1.0]
    assert list(found.user) == ["ann", ""]


@pytest.mark.parametrize("given", [pairs(0), LiveLosses(np.empty(0), np.empty(0, bool), np.empty(0))])
def test_no_losses_yet_are_losses_too(state: State, given: LossPairs | LiveLosses) -> None:
    LossWriter(state).write(1, given)
    found = read_losses(state, 1)
    assert type(found) is type(given)
    assert found is not None
    assert len(found.challenger) == 0


def test_what_stands_already_is_not_written_again_even_by_the_next_process(state: State) -> None:
    assert LossWriter(state).write(1, pairs(50))
    before = state.bucket.get(losses_key(state, 1)).etag
    later = LossWriter(state)
    assert not later.write(1, pairs(50))
    assert state.bucket.get(losses_key(state, 1)).etag == before
    assert later.write(1, pairs(51))


def test_of_two_writers_the_slower_one_is_told_and_then_goes_on_from_what_stands(state: State) -> None:
    first, second = LossWriter(state), LossWriter(state)
    first.write(1, pairs(10))
    second.write(1, pairs(11))
    with pytest.raises(Conflict):
        first.write(1, pairs(12))
    assert first.write(1, pairs(12))
    found = read_losses(state, 1)
    assert found is not None
    assert len(found.challenger) == 12


def test_each_state_of_the_losses_is_given_once_and_again_after_a_while(state: State) -> None:
    now = [100.0]
    writer, news = LossWriter(state), NewLosses(state, lambda: now[0])
    assert news.of(1) is None
    writer.write(1, pairs(10))
    assert news.of(1) is not None
    assert news.of(1) is None
    writer.write(1, pairs(20))
    found = news.of(1)
    assert found is not None
    assert len(found.challenger) == 20
    now[0] += AGAIN_SECONDS
    assert news.of(1) is not None
    assert news.of(1) is None
    news.forget()
    assert news.of(1) is not None


@pytest.mark.parametrize(
    "body", [b"", b"nonce\n{}\n", b"nonce\n" + b'{"kind":"pairs","columns":["a"],"rows":2}' + b"\nx"]
)
def test_damaged_losses_are_told_with_their_place(state: State, body: bytes) -> None:
    state.bucket.put(losses_key(state, 1), body)
    with pytest.raises(Invalid, match=r"current/losses-1\.json"):
        read_losses(state, 1)


def test_a_hundred_thousand_losses_of_classes_are_small(state: State) -> None:
    draw = np.random.default_rng(1)
    wrong = (draw.random((2, 100_000)) < 0.2).astype(float)
    LossWriter(state).write(1, LossPairs(wrong[0], wrong[1]))
    info = state.bucket.head(losses_key(state, 1))
    assert info is not None
    assert info.size < 100_000


def test_who_reads_them_needs_neither_polars_nor_scikit_learn() -> None:
    code = "import sys, trimtab.adapters.stored_losses; print({'polars', 'sklearn', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
