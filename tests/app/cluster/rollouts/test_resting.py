"""Between rollouts: little is read, nothing is written, and nothing is missed."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import MODEL

Cluster = Any


@pytest.fixture
def resting(cluster: Cluster) -> Cluster:
    """v2 was promoted, v1 is stopped, and there is nothing to do."""
    cluster.look(2)
    cluster.ask(promoted=True)
    cluster.look(6, seconds=1800)
    assert cluster.traffic.running == {2}
    assert cluster.look() > 10
    return cluster


def test_a_look_writes_nothing_and_reads_no_rollout(resting: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    bucket = resting.buckets.bucket("state")
    find = type(bucket).find
    monkeypatch.setattr(type(bucket), "find", lambda self, key: reads.append(key) or find(self, key))
    before = len(resting.api.writes)

    resting.look(5)

    assert reads == []
    assert len(resting.api.writes) == before


def test_the_next_rollout_begins_at_the_next_look(resting: Cluster) -> None:
    resting.deploy()
    resting.look(2)
    assert resting.route() == (2, 3, 10)
    assert resting.status("flights-v3")["phase"] == "Canary"


def test_a_lost_route_is_put_back(resting: Cluster) -> None:
    resting.traffic.restart()
    resting.look(2)
    assert resting.route() == (2, None, 0)


def test_going_back_is_heard(resting: Cluster) -> None:
    asked = {"trimtab.dev/rollback-to": "v1"}
    resting.api.merge(MODEL, "shop", "flights", {"metadata": {"annotations": asked}})
    resting.look(2)
    assert resting.route() == (1, None, 0)


def test_a_former_champion_is_kept_for_as_long_as_the_policy_says(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.ask(promoted=True)
    cluster.look(4, seconds=10)
    assert cluster.traffic.running == {1, 2}

    cluster.look(1, seconds=3600)
    cluster.look(1)

    assert cluster.traffic.running == {2}


def test_what_a_rolled_back_challenger_raised_is_told_once_its_log_has_come(cluster: Cluster) -> None:
    cluster.look(2)
    cluster.send(3000, error_ratio={2: 0.3})
    cluster.look(4)
    cluster.look(2, seconds=30)
    assert "Raised" in cluster.events()
