"""One leader among the controllers."""

from __future__ import annotations

import threading
import time
from typing import Any

from trimtab.adapters.kubernetes.kinds import LEASE
from trimtab.app.cluster.election import Election
from trimtab.core.errors import Unavailable

RUNNING = threading.Event()


def election(api: Any, who: str, lost: list[str] | None = None, seconds: int = 1) -> Election:
    told = lost if lost is not None else []
    return Election(api, "trimtab", "controller", who, told.append, seconds)


def test_the_first_leads_and_the_second_follows_when_it_gives_the_lease_back(api: Any) -> None:
    first, second = election(api, "first"), election(api, "second")
    assert first.win(RUNNING)
    won = threading.Thread(target=second.win, args=(RUNNING,))
    won.start()
    first.end()
    won.join(20)
    assert not won.is_alive()
    assert api.get(LEASE, "trimtab", "controller")["spec"]["holderIdentity"] == "second"
    second.end()


def test_a_leader_that_died_is_followed_after_its_time(api: Any) -> None:
    held = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": 4}
    api.put(LEASE, {"metadata": {"namespace": "trimtab", "name": "controller"}, "spec": held})
    began = time.monotonic()
    second = election(api, "second")
    assert second.win(RUNNING)
    assert time.monotonic() - began > 1
    assert api.get(LEASE, "trimtab", "controller")["spec"]["leaseTransitions"] == 5
    second.end()


def test_a_leader_renews_so_that_nobody_follows(api: Any) -> None:
    first, stop = election(api, "first"), threading.Event()
    assert first.win(RUNNING)
    version = api.get(LEASE, "trimtab", "controller")["metadata"]["resourceVersion"]
    deadline = time.monotonic() + 20
    while api.get(LEASE, "trimtab", "controller")["metadata"]["resourceVersion"] == version:
        assert time.monotonic() < deadline
        stop.wait(0.02)
    first.end()


def test_who_finds_another_on_the_lease_is_told_so(api: Any) -> None:
    lost: list[str] = []
    first = election(api, "first", lost)
    assert first.win(RUNNING)
    lease = api.get(LEASE, "trimtab", "controller")
    lease["spec"] |= {"holderIdentity": "second", "leaseDurationSeconds": 60}
    api.put(LEASE, lease)
    deadline = time.monotonic() + 20
    while not lost:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "second leads" in lost[0]


def test_who_cannot_renew_is_told_before_another_may_lead(api: Any, monkeypatch: Any) -> None:
    lost: list[str] = []
    first = election(api, "first", lost, seconds=3)
    assert first.win(RUNNING)

    def away(*_: Any) -> None:
        raise Unavailable("no answer")

    began = time.monotonic()
    monkeypatch.setattr(api, "find", away)
    deadline = began + 20
    while not lost:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "did not answer for" in lost[0]


def test_whatever_goes_wrong_with_renewing_the_leader_hears_of_it(api: Any, monkeypatch: Any) -> None:
    lost: list[str] = []
    first = election(api, "first", lost)
    assert first.win(RUNNING)
    monkeypatch.setattr(api, "find", lambda *_: {}["what nobody thought of"])
    deadline = time.monotonic() + 20
    while not lost:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "did not answer for" in lost[0]


def test_who_waits_for_an_answer_is_told_before_another_may_lead(api: Any, monkeypatch: Any) -> None:
    lost: list[str] = []
    first = election(api, "first", lost, seconds=3)
    assert first.win(RUNNING)
    began, answered = time.monotonic(), threading.Event()
    monkeypatch.setattr(api, "find", lambda *_: answered.wait(60) and None)
    while not lost:
        assert time.monotonic() < began + 20
        time.sleep(0.02)
    assert not answered.is_set()
    assert "did not answer for 2 s" in lost[0]
    answered.set()


def test_who_is_to_stop_while_standing_by_does_not_lead(api: Any) -> None:
    held = {"holderIdentity": "other", "leaseDurationSeconds": 600}
    api.put(LEASE, {"metadata": {"namespace": "trimtab", "name": "controller"}, "spec": held})
    stopping = threading.Event()
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(election(api, "second").win(stopping)))
    waiting.start()
    stopping.set()
    waiting.join(20)
    assert found == [False]
