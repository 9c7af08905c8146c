"""
From an upload to the decision's `submitted`: at most 1 s by webhook, one listing period plus 1 s without it.

Uploads go one at a time into the platform as `trimtab up` runs it, each at a seeded random moment after the run before
it has ended. The moments are taken inside the platform's own process, where each thing is done, so nothing polls the
store meanwhile; the first upload, which finds everything cold, counts. The floor stands in the same table: the put and
the webhook's way to the ledger, and what the requests to the store on the way would take one after another.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import show
from trimtab.adapters.kfp import LocalLauncher
from trimtab.adapters.state import State
from trimtab.adapters.state.decisions import Decisions
from trimtab.adapters.state.ledger import Ledger
from trimtab.app.embedded.platform import LISTING_SECONDS, Platform
from trimtab.app.intake import Intake
from trimtab.core.ports import RunPhase

TARGET = 1.0  # seconds from the put; without the webhook beside one listing period
QUIET_LISTING = 2.0  # the listing's period where there is no webhook
ROWS = 700
WAIT_SECONDS = 120.0  # for a decision, for a run's end
BUCKET = "landing"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: latency}
spec:
  data:
    source: s3://landing/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      kind: {type: category, values: [a, b, c]}
      x1: {type: float}
      x2: {type: float}
      'y': {type: float}
  triggers:
    upload: {minNewRows: 1, settle: 0s}
  window: {strategy: fixed, size: 4w, minRows: 100}
  training:
    estimator: sklearn.linear_model:Ridge
    seed: 0
    threads: 1
  evaluation:
    holdout: 1w
    refit: true
    metrics: [mean_absolute_error]
    primary: mean_absolute_error
    margin: 0.02
    confidence: 0.95
    block: 1d
  rollout: {strategy: immediate}
"""

# What the platform does between an upload and `submitted`: the moments at which each of these has ended.
NOTICED, TAKEN_IN, DECIDED, CLAIMED, LAUNCHED, SUBMITTED = (
    (Ledger, "see"),
    (Intake, "take_next"),
    (Decisions, "propose"),
    (Decisions, "take"),
    (LocalLauncher, "launch"),
    (Decisions, "submitted"),
)
STAGES = {
    NOTICED: "notice: put, event or listing, ledger entry",
    TAKEN_IN: "intake: read, check, compare, judge, keep",
    DECIDED: "decide: observe, dataset, decision",
    CLAIMED: "claim the decision",
    LAUNCHED: "start the run's process",
    SUBMITTED: "mark the claim submitted",
}


@dataclass(frozen=True)
class Upload:
    """Seconds from the begin of one put."""

    put: float  # until the store had answered
    stages: dict[tuple[type, str], float]  # until each stage had ended
    requests: int  # to the store, from the put's end until `submitted`

    @property
    def submitted(self) -> float:
        return self.stages[SUBMITTED]


class Watch:
    """When each stage ended last, and when the store was asked; noted in whichever thread it happens."""

    def __init__(self) -> None:
        self.ended: dict[tuple[type, str], float] = {}
        self.asked: list[float] = []
        self.over = threading.Event()

    def forget(self) -> None:
        self.ended.clear()
        self.asked.clear()
        self.over.clear()

    def count(self, **_: object) -> None:
        """For boto3: a request goes out."""
        self.asked.append(time.perf_counter())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for place in STAGES:
                stack.enter_context(mock.patch.object(*place, self._noting(place)))
            yield

    def _noting(self, place: tuple[type, str]) -> Callable[..., Any]:
        does: Callable[..., Any] = getattr(*place)

        def do(*arguments: Any, **named: Any) -> Any:
            result = does(*arguments, **named)
            # A worker that found nothing to take in, or an entry that stood already, ended nothing.
            if result not in (None, False) and not self.over.is_set():
                self.ended[place] = time.perf_counter()
                if place == SUBMITTED:
                    self.over.set()
            return result

        return do


class Bench:
    """A platform that runs, and the uploads that it has had."""

    def __init__(self, platform: Platform, watch: Watch, listing_seconds: float, rng: random.Random) -> None:
        self.platform = platform
        self.watch = watch
        self.listing_seconds = listing_seconds
        self.rng = rng
        self.state = State.open(platform.buckets, platform.environment.state, platform.model.name)
        self.landing = platform.buckets.bucket(BUCKET)
        platform.buckets.client.meta.events.register("before-send.s3", watch.count)
        wait_until(lambda: "starting" not in str(platform.loop.snapshot().held), "the loop did not start")

    def upload(self, number: int) -> Upload:
        """Put one file at some moment of the listing's period; returns when its run has ended."""
        body = rows_as_csv(number)
        time.sleep(self.rng.uniform(0, self.listing_seconds))
        self.watch.forget()
        began = time.perf_counter()
        self.landing.put(f"{number:03}.csv", body)
        put = time.perf_counter()
        if not self.watch.over.wait(WAIT_SECONDS):
            raise SystemExit(f"upload {number} started no run: {self.platform.loop.snapshot()}")
        stages = {place: moment - began for place, moment in self.watch.ended.items()}
        requests = sum(put < moment <= began + stages[SUBMITTED] for moment in list(self.watch.asked))
        self._wait_for_the_end(number)
        print(f"upload {number}: {stages[SUBMITTED]:.2f} s", file=sys.stderr, flush=True)  # a run takes 10 s and more
        return Upload(put - began, stages, requests)

    def _wait_for_the_end(self, number: int) -> None:
        """Until the run has ended, and the platform has written down its log, the last thing that it does with it."""
        claim = self.state.decisions.claim(number)
        if claim is None or claim.state != "submitted":
            raise SystemExit(f"decision {number} is not submitted in the store: {claim}")
        wait_until(lambda: self.state.data.log(claim.run_id) is not None, f"run {number} did not end", every=0.1)
        status = self.platform.launcher.look_up(claim.run_id)
        if status is None or status.phase is not RunPhase.SUCCEEDED:
            raise SystemExit("\n".join([*self.platform.launcher.logs(claim.run_id), f"run {number}: {status}"]))

    def request_seconds(self, times: int = 20) -> float:
        """One small create and one read of it, by turns, when nothing else goes on: the median of a request."""
        bucket = self.platform.buckets.make("floor")
        seconds = []
        for i in range(times):
            for ask in (lambda key: bucket.create(key, b"x" * 500), bucket.find):
                began = time.perf_counter()
                ask(f"{i}.json")
                seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)


def wait_until(condition: Callable[[], bool], failure: str, every: float = 0.02) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(failure)
        time.sleep(every)


def rows_as_csv(number: int) -> bytes:
    """
    The hours that follow those of the upload before; always the same.

    What x1 does turns round with each file, and no column's distribution changes: the champion of the file before is
    beaten each time, so that no rejected candidate makes the next upload wait.
    """
    rng, turn = random.Random(number), (-1) ** number
    lines = ["ts,kind,x1,x2,y"]
    for i in range(ROWS):
        kind, x1, x2 = rng.choice("abc"), rng.gauss(0, 1), rng.gauss(5, 2)
        y = 10 + 3 * turn * x1 - x2 + {"a": 0, "b": 2, "c": 4}[kind] + rng.gauss(0, 0.5)
        hour = BEGIN + timedelta(hours=(number - 1) * ROWS + i)
        lines.append(f"{hour:%Y-%m-%dT%H:%M:%S},{kind},{x1:.5f},{x2:.5f},{y:.5f}")
    return ("\n".join(lines) + "\n").encode()


def measure(folder: Path, uploads: int, webhook: bool, rng: random.Random) -> tuple[list[Upload], float]:
    """The uploads into a fresh platform, and the seconds of one small request to its store."""
    folder.mkdir()
    spec = folder / "model.yaml"
    spec.write_text(SPEC)
    period = LISTING_SECONDS if webhook else QUIET_LISTING
    watch = Watch()
    platform = Platform(folder, spec, webhook=webhook, listing_seconds=period, serving=False)
    with watch.watching(), platform:
        bench = Bench(platform, watch, period if not webhook else 1.0, rng)
        return [bench.upload(number) for number in range(1, uploads + 1)], bench.request_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few uploads")
    parser.add_argument("--uploads", type=int, default=15, help="by webhook, and as many by listing")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which files are put")
    arguments = parser.parse_args()
    uploads = (3, 2) if arguments.quick else (arguments.uploads, arguments.uploads)
    rng = random.Random(arguments.seed)
    load = [os.getloadavg()[0]]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Copies of what never changes go into this folder too, and away with it.
        stack.enter_context(mock.patch.dict(os.environ, {"TRIMTAB_CACHE": str(folder / "cache")}))
        told, request = measure(folder / "webhook", uploads[0], True, rng)
        listed, _ = measure(folder / "listing", uploads[1], False, rng)
    load.append(os.getloadavg()[0])
    report(told, listed, request, load)


def report(told: Sequence[Upload], listed: Sequence[Upload], request: float, load: Sequence[float]) -> None:
    print(f"seconds from the begin of a put of {ROWS} rows, runs going through the real launcher;")
    print(f"load average {load[0]:.1f} before, {load[1]:.1f} after\n")
    print("to `submitted`, all uploads; one store request is the median of small puts and gets, measured idle\n")
    both = (("by webhook", told), (f"by listing each {QUIET_LISTING:g} s", listed))
    lines = [
        (
            name,
            len(ones),
            *(f"{figure(sorted(one.submitted for one in ones)):.2f}" for figure in (statistics.median, p90, max)),
            f"{statistics.median(one.submitted - one.put for one in ones):.2f}",
            f"{ones[0].submitted:.2f}",
        )
        for name, ones in both
    ]
    show(("", "uploads", "median", "p90", "max", "median from put's end", "first, cold"), lines)
    print("\nwhere it goes: medians, and the slowest upload by webhook\n")
    worst = max(told, key=lambda one: one.submitted)
    table = [(STAGES[place], *cells(both, place), f"{spans([worst], place)[0]:.3f}") for place in STAGES]
    alone = [statistics.median(one.put for one in ones) for _, ones in both]
    puts = (f"{figure:.3f}" for figure in (*alone, worst.put))
    show(("", *(name for name, _ in both), "the slowest"), [("the put alone", *puts), *table])
    requests = statistics.median(one.requests for one in told)
    floor = statistics.median(one.stages[NOTICED] for one in told) + requests * request
    print(f"\nfloor: the notice, and {requests:g} store requests of {1000 * request:.1f} ms in turn: {floor:.2f} s")
    median, slowest = (statistics.median(one.submitted for one in told), max(one.submitted for one in listed))
    print(f"by webhook {median:.2f} s (target: median at most {TARGET:g})")
    print(f"by listing {slowest:.2f} s (target: at most {QUIET_LISTING:g} + {TARGET:g})")
    figures = {
        "benchmark": "upload_latency",
        "uploads": [len(told), len(listed)],
        "median_webhook_seconds": round(median, 3),
        "p90_webhook_seconds": round(p90(sorted(one.submitted for one in told)), 3),
        "max_webhook_seconds": round(max(one.submitted for one in told), 3),
        "median_listing_seconds": round(statistics.median(one.submitted for one in listed), 3),
        "max_listing_seconds": round(slowest, 3),
        "listing_period_seconds": QUIET_LISTING,
        "floor_seconds": round(floor, 3),
        "ratio": round(median / floor, 3),
        "request_seconds": round(request, 5),
        "requests": requests,
        "stages_webhook": {place[1]: round(statistics.median(spans(told, place)), 3) for place in STAGES},
        "load_average": [round(value, 2) for value in load],
        "webhook_within_target": median <= TARGET,
        "listing_within_target": slowest <= QUIET_LISTING + TARGET,
    }
    print(json.dumps(figures))


def cells(both: Sequence[tuple[str, Sequence[Upload]]], place: tuple[type, str]) -> list[str]:
    return [f"{statistics.median(spans(ones, place)):.3f}" for _, ones in both]


def spans(ones: Sequence[Upload], place: tuple[type, str]) -> list[float]:
    """Seconds of the stage alone, of each upload: since the stage before it had ended."""
    before = dict(itertools.pairwise([None, *STAGES]))
    former = {after: first for first, after in before.items()}[place]
    return [one.stages[place] - (one.stages[former] if former is not None else 0.0) for one in ones]


def p90(ordered: Sequence[float]) -> float:
    """The value that nine of ten do not exceed."""
    return ordered[math.ceil(0.9 * len(ordered)) - 1]


if __name__ == "__main__":
    main()
