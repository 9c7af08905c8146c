"""The loop with its threads: woken by events, found by listing, one that acts, clean and unclean ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.embedded.store import Store
from trimtab.core.errors import Conflict, Invalid, Unavailable
from trimtab.core.ports import Buckets, RunPhase, RunRequest, RunStatus
from trimtab.core.records import Outcome

DayFile = Callable[..., bytes]
WaitFor = Callable[..., Any]
MakeLoop = Callable[..., Any]
RECORDS = '{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"landing"},"object":{"key":"%s"}}}]}'


def state_of(buckets: Buckets, bucket: str = "state") -> State:
    return State.open(buckets, f"s3://{bucket}/default", "bikes")


def reject(buckets: Buckets, bucket: str = "state") -> Callable[[RunRequest], RunStatus]:
    """A run that ends at once: rejected."""

    def work(request: RunRequest) -> RunStatus:
        state = state_of(buckets, bucket)
        decision = next(each for each in state.decisions.all() if each.run_key == request.run_key)
        outcome = Outcome(
            number=decision.number,
            run_key=request.run_key,
            state="superseded",
            reason="as the test says",
            decided_at=decision.decided_at,
            recorded_at=decision.recorded_at,
        )
        state.decisions.conclude(outcome)
        return RunStatus(request.run_id, RunPhase.SUCCEEDED)

    return work


def put(buckets: Buckets, key: str, body: bytes, bucket: str = "landing") -> None:
    buckets.bucket(bucket).put(f"in/{key}", body)


def post(loop: Any, path: str, content: str = "") -> httpx.Response:
    headers = {"Authorization": "Bearer t0ken"}
    return httpx.post(f"http://127.0.0.1:{loop.port}{path}", content=content, headers=headers, trust_env=False)


def submitted(state: State, number: int = 1) -> bool:
    claim = state.decisions.claim(number)
    return claim is not None and claim.state == "submitted"


def test_an_event_leads_to_a_run_long_before_the_next_listing(
    memory: MemoryBuckets, hand: Any, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor
) -> None:
    loop = make_loop(memory, hand, listing_seconds=600)
    wait_for(lambda: loop.snapshot().held and loop.snapshot().held.reason.startswith("no labelled"))
    put(memory, "a.csv", day_file(0))

    answer = post(loop, "/v1/events", RECORDS % "in/a.csv")

    assert answer.json() == {"objects": 1, "new": 1}
    wait_for(lambda: submitted(state_of(memory)))


def test_without_events_the_listing_finds_it(
    memory: MemoryBuckets, hand: Any, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor
) -> None:
    make_loop(memory, hand, listing_seconds=0.1)
    put(memory, "a.csv", day_file(0))

    wait_for(lambda: submitted(state_of(memory)))


def test_what_came_together_is_offered_together_even_without_settle(
    memory: MemoryBuckets, hand: Any, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor
) -> None:
    for day in range(3):
        put(memory, f"{day}.csv", day_file(day))
    make_loop(memory, hand)

    wait_for(lambda: hand.requests)

    assert len(hand.requests[0].objects) == 3


def test_a_run_asked_for_by_http_is_started(
    memory: MemoryBuckets, hand: Any, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor
) -> None:
    put(memory, "a.csv", day_file(0, rows=5))
    loop = make_loop(memory, hand, listing_seconds=600)
    wait_for(lambda: loop.snapshot().held and loop.snapshot().held.reason == "5 of 10 new labelled rows")

    request = post(loop, "/v1/models/bikes/runs").json()["request"]

    wait_for(lambda: hand.requests)
    assert state_of(memory).decisions.all()[0].evidence["onDemand"]["requests"] == [request]
    status = post_status(loop)
    assert (status["running"]["reason"], status["uploads"]["ingested"]) == ("onDemand", 1)


def post_status(loop: Any) -> dict[str, Any]:
    headers = {"Authorization": "Bearer t0ken"}
    address = f"http://127.0.0.1:{loop.port}/v1/models/bikes/status"
    answer: dict[str, Any] = httpx.get(address, headers=headers, trust_env=False).json()
    return answer


def test_of_two_loops_one_acts_and_the_other_takes_over_when_it_stops(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any
) -> None:
    first = make_loop(memory, hand, owner="first")
    wait_for(lambda: state_of(memory).lease.who())
    second = make_loop(memory, hand, owner="second")
    wait_for(lambda: second.snapshot().held.reason == "standing by: first works for this model")
    put(memory, "a.csv", day_file(0))
    wait_for(lambda: submitted(state_of(memory)))
    owner = state_of(memory).decisions.claim(1).owner

    first.stop()
    wait_for(lambda: state_of(memory).lease.who() and state_of(memory).lease.who().owner == "second")
    wait_for(lambda: len(hand.requests) == 2)

    # Stopped cleanly, the first one ended its run; the second tries it again under the same run key.
    assert owner == "first"
    assert hand.stopped == [hand.requests[0].run_id]
    assert hand.requests[0].run_key == hand.requests[1].run_key


def test_a_loop_whose_lease_was_taken_stops_acting(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("trimtab.app.tenure.LEASE_SECONDS", 0.3)
    said: list[str] = []
    make_loop(memory, hand, owner="slow", tell=said.append)
    wait_for(lambda: state_of(memory).lease.who() is not None)

    take_lease(memory, wait_for)

    wait_for(lambda: said)
    put(memory, "a.csv", day_file(0))
    time.sleep(0.5)

    assert "another process works for bikes now" in said[0]
    assert state_of(memory).decisions.all() == []


def take_lease(memory: MemoryBuckets, wait_for: WaitFor) -> None:
    """As if the loop `slow` had been frozen for longer than its lease and another had come."""
    bucket, key = memory.bucket("state"), "default/bikes/lease.json"
    held = bucket.get(key)
    taken = held.body.replace(b'"owner":"slow"', b'"owner":"quick"').replace(b'"epoch":1', b'"epoch":2')
    taken = taken.replace(b'"until":"20', b'"until":"21')

    def take() -> bool:
        try:
            bucket.replace(key, taken, bucket.get(key).etag)
        except Conflict:
            return False  # a renewal came between
        return True

    wait_for(take)


def test_a_loop_whose_lease_was_taken_ends_the_run_that_goes_on_in_it_and_writes_nothing_of_it(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("trimtab.app.tenure.LEASE_SECONDS", 0.3)
    loop = make_loop(memory, hand, owner="slow")
    put(memory, "a.csv", day_file(0))
    wait_for(lambda: submitted(state_of(memory)))
    before = state_of(memory).decisions.claim(1)

    take_lease(memory, wait_for)
    wait_for(lambda: hand.stopped)
    wait_for(lambda: loop.snapshot().held and loop.snapshot().held.reason.startswith("standing by: quick"))

    assert hand.stopped == [before.run_id]
    after = state_of(memory).decisions.claim(1)
    assert (after.state, after.attempt, after.retry_after) == (before.state, before.attempt, None)


def test_a_store_that_is_away_for_a_while_delays_and_loses_nothing(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any
) -> None:
    said: list[str] = []
    loop = make_loop(memory, hand, tell=said.append)
    wait_for(lambda: loop.snapshot().held.reason.startswith("no labelled"))
    put(memory, "a.csv", day_file(0))

    def down(operation: str, key: str, done: bool) -> None:
        raise Unavailable("the store at http://127.0.0.1:1 did not answer", "trimtab doctor")

    memory.fail = down
    wait_for(lambda: loop.snapshot().problems)
    refused = post(loop, "/v1/events", RECORDS % "in/a.csv")
    memory.fail = None
    wait_for(lambda: submitted(state_of(memory)))

    assert refused.status_code == 503
    wait_for(lambda: len(said) == 2)
    assert said == ["the store at http://127.0.0.1:1 did not answer; trying again", "it works again"]
    wait_for(lambda: not loop.snapshot().problems)


def test_an_error_nobody_thought_of_does_not_end_the_worker(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any, monkeypatch: Any
) -> None:
    broken = [True]
    real = State.open(memory, "s3://state/default", "bikes").ledger.__class__.entries

    def entries(ledger: Any) -> Any:
        if broken:
            raise KeyError("what")
        return real(ledger)

    monkeypatch.setattr("trimtab.adapters.state.ledger.Ledger.entries", entries)
    loop = make_loop(memory, hand, tell=lambda line: None)
    wait_for(lambda: loop.snapshot().problems == ("unexpected KeyError: 'what'",))
    broken.clear()
    put(memory, "a.csv", day_file(0))

    wait_for(lambda: submitted(state_of(memory)))


def test_a_field_that_comes_later_is_refused_before_anything_starts(
    memory: MemoryBuckets, make_loop: MakeLoop, hand: Any, rig: Any
) -> None:
    later = rig.text.replace("strategy: all", "strategy: dynamic, candidates: [1w, 2w]")
    with pytest.raises(Invalid, match="comes later"):
        make_loop(memory, hand, text=later)


def test_stop_gives_the_lease_back_at_once(
    memory: MemoryBuckets, make_loop: MakeLoop, wait_for: WaitFor, hand: Any
) -> None:
    loop = make_loop(memory, hand)
    wait_for(lambda: state_of(memory).lease.who())

    loop.stop()

    assert state_of(memory).lease.who() is None


@pytest.fixture
def webhook_store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that tells the listener's port of new objects."""
    from trimtab.app.embedded.ports import free_ports
    from trimtab.app.embedded.weed import Webhook

    port = free_ports(["listener"])["listener"]
    hook = Webhook(f"http://127.0.0.1:{port}/v1/events", "t0ken", "landing")
    with Store(tmp_path / "store", webhook=hook, buckets=("state", "landing")) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield port


def test_from_put_to_submitted_takes_less_than_a_second_by_webhook(
    webhook_store: int, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any
) -> None:
    from trimtab.adapters import s3

    buckets = s3.connect()
    hand.work = reject(buckets)
    loop = make_loop(buckets, hand, port=webhook_store, listing_seconds=600)
    wait_for(lambda: loop.snapshot().held and loop.snapshot().held.reason.startswith("no labelled"))
    state = state_of(buckets)
    took = []
    for day in range(8):
        number = len(state.decisions.all()) + 1
        began = time.monotonic()
        put(buckets, f"{day} +.csv", day_file(day))
        wait_for(lambda number=number: submitted(state, number))
        took.append(time.monotonic() - began)
        wait_for(lambda number=number: state.decisions.outcome(number))
        wait_for(lambda number=number: loop.snapshot().last and loop.snapshot().last.decision == number)

    assert {entry.via for entry in state.ledger.entries().values()} == {"webhook"}
    # The promise is a median of 1 s on an idle machine; this one may be busy with other tests.
    assert statistics.median(took) < 3, took


def test_prometheus_reads_how_the_model_stands(
    memory: MemoryBuckets, make_loop: MakeLoop, day_file: DayFile, wait_for: WaitFor, hand: Any
) -> None:
    loop = make_loop(memory, hand)
    put(memory, "a.csv", day_file(0))
    wait_for(lambda: submitted(state_of(memory)))
    wait_for(lambda: loop.monitor.findings)

    address, token = f"http://127.0.0.1:{loop.port}/metrics", {"Authorization": "Bearer t0ken"}
    wait_for(
        lambda: 'trimtab_run_goes_on{model="bikes"} 1.0' in httpx.get(address, headers=token, trust_env=False).text
    )


def test_what_the_journal_tells_is_told_to_whom_the_spec_names(
    memory: MemoryBuckets,
    make_loop: MakeLoop,
    wait_for: WaitFor,
    hand: Any,
    rig: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("trimtab.adapters.alerts.Receiver.tell", lambda self, title, body: told.append((title, body)))
    monkeypatch.setattr("trimtab.app.alerting.LOOK_SECONDS", 0.05)
    monkeypatch.setenv("BIKES_ALERTS", "json://127.0.0.1:9/nobody")
    text = type(rig).text + "  alerts: [{urlFrom: {env: BIKES_ALERTS}, events: [quarantine]}]\n"
    make_loop(memory, hand, text=text)
    put(memory, "bad.csv", b"a,b\n1,2\n")

    wait_for(lambda: told)

    assert told[0][0] == "bikes: quarantine"
    assert "bad.csv" in told[0][1]
