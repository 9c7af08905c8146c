"""
One controller for 200 models and 50 rollouts: below 300 MB and half a core at rest, news acted on within 5 s.

A real API server, a real store, and the controller's own process as the manifests start it. Each model has a history:
uploads with their reports, decisions, versions, a journal. The rollouts are paused, so that nothing but looking is
left to do; then a measurement comes, as listener and monitor bring it, and the time to what follows from it is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import show
from benchmarks._cluster import serving_cluster
from benchmarks._cluster_history import IMAGE, NAMESPACES, Made, history, state_of, upload
from trimtab.adapters import s3
from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import MODEL, ROLLOUT
from trimtab.adapters.stored_losses import LossWriter
from trimtab.app.cluster.monitor import MEASURED
from trimtab.app.cluster.resources import ARRIVED, accepted, key_of
from trimtab.app.embedded.store import Store
from trimtab.core.ports import Buckets
from trimtab.core.rollout.evidence import LossPairs
from trimtab.core.rollout.values import Phase

MOST_MEGABYTES, MOST_CORES, MOST_SECONDS = 300.0, 0.5, 5.0
WAIT_SECONDS = 600.0  # for the first look at every model, and the first weight of every rollout
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Size:
    models: int
    rollouts: int
    uploads: int  # of each model's history
    rest_seconds: float
    measurements: int


FULL = Size(models=200, rollouts=50, uploads=12, rest_seconds=60.0, measurements=20)
QUICK = Size(models=12, rollouts=4, uploads=6, rest_seconds=8.0, measurements=3)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory, processor time and reaction of one controller.")
    parser.add_argument("--quick", action="store_true", help="12 models and 4 rollouts, 8 seconds of rest")
    size = QUICK if parser.parse_args().quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started ends with it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            serving_cluster(folder) as (api, kubeconfig),
            Store(folder / "store", buckets=("state", "landing")) as store,
        ):
            os.environ.update(store.environment, KUBECONFIG=str(kubeconfig))
            figures = measure(api, s3.connect(), size, folder)
    rows = [
        ("memory, MB", f"{figures['megabytes']:.0f}", f"{MOST_MEGABYTES:.0f}"),
        ("processor at rest, cores", f"{figures['cores']:.2f}", f"{MOST_CORES:.2f}"),
        ("upload to decision, s: median", f"{figures['decision_seconds_median']:.2f}", ""),
        ("upload to decision, s: longest", f"{figures['decision_seconds_most']:.2f}", f"{MOST_SECONDS:.0f}"),
        ("proof of harm to rollback, s: median", f"{figures['rollback_seconds_median']:.2f}", ""),
        ("proof of harm to rollback, s: longest", f"{figures['rollback_seconds_most']:.2f}", f"{MOST_SECONDS:.0f}"),
    ]
    print(f"{size.models} models with {size.uploads} uploads each, {size.rollouts} paused rollouts, one controller")
    show(("", "measured", "at most"), rows)
    print(json.dumps(figures))


def measure(api: Api, buckets: Buckets, size: Size, folder: Path) -> dict[str, Any]:
    """Everything once; the controller runs from here to the end."""
    made = history(buckets, size.models, size.rollouts, size.uploads, random.Random(0))
    for namespace in NAMESPACES:
        api.raw("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        account = {"metadata": {"name": "trimtab-model"}}
        api.raw("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    for one in made:
        api.create(MODEL, one.body, one.namespace)
    led, idle = made[: size.rollouts], made[size.rollouts :]
    with controller(folder) as (process, log):
        wait_for(lambda: all(accepted(each) for each in api.list(MODEL)[0]), log)
        wait_for(lambda: phases(api) == ["Canary"] * size.rollouts, log)
        for each in api.list(ROLLOUT)[0]:
            api.merge(ROLLOUT, *key_of(each), {"spec": {"paused": True}})
        wait_for(lambda: phases(api) == ["Paused"] * size.rollouts, log)
        at_rest(process)
        cores, megabytes = watch(process, size.rest_seconds)
        decided = [decided_after(api, buckets, one) for one in idle[: size.measurements]]
        rolled_back = [rolled_back_after(api, buckets, one) for one in led[: size.measurements]]
        megabytes = max(megabytes, rss(process))
    return {
        "models": size.models,
        "rollouts": size.rollouts,
        "megabytes": round(megabytes, 1),
        "cores": round(cores, 3),
        "decision_seconds_median": round(statistics.median(decided), 3),
        "decision_seconds_most": round(max(decided), 3),
        "rollback_seconds_median": round(statistics.median(rolled_back), 3),
        "rollback_seconds_most": round(max(rolled_back), 3),
        "met": megabytes < MOST_MEGABYTES and cores < MOST_CORES and max(decided + rolled_back) < MOST_SECONDS,
    }


def phases(api: Api) -> list[str]:
    """Of all rollouts."""
    return [str((each.get("status") or {}).get("phase")) for each in api.list(ROLLOUT)[0]]


@contextmanager
def controller(folder: Path) -> Iterator[tuple[psutil.Process, Path]]:
    """The controller's process, as the manifests start it, and its log."""
    env = os.environ | {
        "TRIMTAB_STATE_BUCKET": "state",
        "TRIMTAB_WATCH_NAMESPACES": ",".join(NAMESPACES),
        "TRIMTAB_PIPELINE_IMAGE": IMAGE,
        "TRIMTAB_SERVING_IMAGE": "trimtab/serving:benchmark",
        "TRIMTAB_KFP_URL": "http://127.0.0.1:9",  # a decision is made although its run cannot be sent
        "TRIMTAB_MAX_CONCURRENT_RUNS": "1000",
        "POD_NAMESPACE": "default",
        "POD_NAME": "benchmark",
        "MALLOC_ARENA_MAX": "2",  # as the services' image sets it
    }
    path = folder / "controller.log"
    with path.open("wb") as log:
        command = [sys.executable, "-m", "trimtab.app.cluster.controller"]
        child = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield psutil.Process(child.pid), path
        except SystemExit:
            print(path.read_text(errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            child.terminate()
            child.wait(60)


def wait_for(look: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit("the controller did not come so far")
        time.sleep(0.5)


def at_rest(process: psutil.Process) -> None:
    """Wait until it does no more than it will: what the first looks left behind is done."""
    before = float("inf")
    for _ in range(12):
        used = watch(process, 3.0)[0]
        if used > before * 0.8:
            return
        before = used


def watch(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Cores that it used, and the most memory that it held in MB."""
    times, began, most = process.cpu_times(), time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        most = max(most, rss(process))
        time.sleep(0.5)
    after = process.cpu_times()
    used = after.user + after.system - times.user - times.system
    return used / (time.monotonic() - began), most


def rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def decided_after(api: Api, buckets: Buckets, one: Made) -> float:
    """Seconds from the moment at which an upload was taken in to the decision that it calls for."""
    state = state_of(buckets, one)
    known = len(state.decisions.all())
    upload(state, buckets, rows=5_000, number=10_000)
    return seconds_until(api, one, ARRIVED, lambda: len(state.decisions.all()) > known)


def rolled_back_after(api: Api, buckets: Buckets, one: Made) -> float:
    """Seconds from the moment at which losses that prove harm were written to the end of the rollout."""
    state = state_of(buckets, one)
    wrong, right = np.ones(2_000), np.zeros(2_000)
    LossWriter(state).write(1, LossPairs(champion=right, challenger=wrong, mature=2_000))

    def ended() -> bool:
        at = state.rollouts.state(1)
        return at is not None and at.phase is Phase.ROLLED_BACK

    return seconds_until(api, one, MEASURED, ended)


def seconds_until(api: Api, one: Made, annotation: str, done: Callable[[], bool]) -> float:
    """From the annotation by which listener and monitor tell, to what follows from it."""
    began = time.monotonic()
    told = {"metadata": {"annotations": {annotation: str(time.time())}}}
    api.merge(MODEL, one.namespace, one.name, told)
    while not done():
        if time.monotonic() - began > GIVE_UP_SECONDS:
            raise SystemExit(f"nothing followed for {one.namespace}/{one.name} within {GIVE_UP_SECONDS:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
