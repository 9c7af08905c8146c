"""What the watch tells becomes work: a rollout that was deleted is seen through, whoever has its name by then."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.kinds import ROLLOUT
from trimtab.adapters.memory import MemoryBuckets
from trimtab.app.cluster.controller import Cluster

Object = dict[str, Any]


class Rollouts:
    """Leads by writing down whom it was asked to lead, and to end; an end takes two looks."""

    def __init__(self) -> None:
        self.led: list[str] = []
        self.ended: list[str] = []
        self.missed: set[str] = set()  # uids of which nothing is left
        self.begun, self.over = threading.Event(), threading.Event()

    def lead_free(self, rollout: Object) -> float:
        self.led.append(rollout["metadata"]["uid"])
        self.begun.set()
        return 3600.0 if rollout["metadata"]["uid"] not in self.missed else 0.0

    def gone_free(self, rollout: Object) -> float:
        self.ended.append(rollout["metadata"]["uid"])
        if len(self.ended) < 2:
            return 0.01
        self.over.set()
        return 0.0

    def orphans(self) -> list[Object]:
        return []


def free(uid: str) -> Object:
    return {"metadata": {"namespace": "shop", "name": "take-over", "uid": uid}, "spec": {}}


@pytest.mark.parametrize("told", [("DELETED", "ADDED"), ("ADDED",)], ids=["deleted", "deletion missed"])
def test_a_rollout_that_was_made_again_leaves_the_end_of_the_former_alone(api: Any, told: tuple[str, ...]) -> None:
    rollouts = Rollouts()
    cluster = Cluster(api, ClusterSettings("state"), MemoryBuckets(), rollouts)  # type: ignore[arg-type]
    cluster.seen(ROLLOUT, "ADDED", free("old"))
    for event in told:
        cluster.seen(ROLLOUT, event, free("old" if event == "DELETED" else "new"))
    cluster.start()
    try:
        assert rollouts.begun.wait(30)
        assert rollouts.over.wait(30)
    finally:
        cluster.stop()
    assert rollouts.ended == ["old", "old"]
    assert rollouts.led == ["new"]


def test_a_rollout_whose_deletion_the_watch_missed_is_looked_at_once(api: Any) -> None:
    rollouts = Rollouts()
    rollouts.missed.add("old")
    cluster = Cluster(api, ClusterSettings("state"), MemoryBuckets(), rollouts)  # type: ignore[arg-type]
    cluster.seen(ROLLOUT, "ADDED", free("old"))
    cluster.start()
    try:
        assert rollouts.begun.wait(30)
        # Another look at the former would come before that at a later one.
        rollouts.begun.clear()
        other = free("other")
        other["metadata"]["name"] = "another"
        cluster.seen(ROLLOUT, "ADDED", other)
        assert rollouts.begun.wait(30)
    finally:
        cluster.stop()
    assert rollouts.led == ["old", "other"]
