"""
What a training run costs beside the fitting: seven steps on 10,000 rows, against seven processes that only import.

The run goes through `LocalLauncher` and the embedded store, as under `trimtab up`: its steps are forked from a process
that has imported already. The floor is kfp.local's own way, measured in the same minutes: for each step one fresh
process that imports what that step was seen to import, and does nothing else. Both are repeated in turn; the medians
count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks import show
from trimtab.adapters.environment import Environment
from trimtab.adapters.kfp import LocalLauncher
from trimtab.core.ports import RunPhase, RunRequest

TARGET = 1.6
STEPS = ("ingest", "validate", "detect_drift", "select_window", "train", "evaluate", "register")
FITTING = ("train", "evaluate")  # the steps whose record tells the seconds of their fits

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {{name: overhead}}
spec:
  data:
    source: s3://{landing}/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      kind: {{type: category, values: [a, b, c]}}
      x1: {{type: float}}
      x2: {{type: float}}
      x3: {{type: float}}
      'y': {{type: float}}
  triggers:
    upload: {{minNewRows: 1, settle: 0s}}
  window: {{strategy: all, minRows: 100}}
  training:
    estimator: sklearn.ensemble:HistGradientBoostingRegressor
    seed: 0
    threads: 1
  evaluation:
    holdout: 2w
    refit: true
    metrics: [mean_absolute_error]
    primary: mean_absolute_error
    margin: 0.02
    confidence: 0.95
    block: 1d
  rollout: {{strategy: immediate}}
"""

# Found by every process of one run as `sitecustomize`: each step gets an interpreter of its own, as in kfp.local, and
# writes down what it had imported when it ended.
RECORDER = """\
import atexit, json, os, sys

def record():
    names = [name for name in sys.modules if name.split(".")[0] not in {"__main__", "ephemeral_component", "kfp"}]
    step = sys.argv[sys.argv.index("--function_to_execute") + 1]
    with open(os.path.join(os.environ["RECORD_TO"], step + ".json"), "w") as file:
        json.dump(names, file)

if os.environ.get("_KFP_RUNTIME") == "true":
    atexit.register(record)
elif "TRIMTAB_RUN_ID" in os.environ:
    from trimtab.adapters import kfp_warm
    kfp_warm.Command.of = staticmethod(lambda command: None)
"""

IMPORTER = """\
import importlib, json, sys
for name in json.load(open(sys.argv[1])):
    try:
        importlib.import_module(name)
    except Exception:
        pass  # some names are made by their parents, not found as modules
"""


@dataclass(frozen=True)
class Run:
    """One run: wall seconds from its launch to its result, of each step, and of the fits inside steps."""

    seconds: float
    steps: Mapping[str, float]
    fitting: Mapping[str, float]
    cpu: float  # processor seconds of all its processes, the fits included: steadier on a busy machine

    @property
    def beside_fitting(self) -> float:
        return self.seconds - sum(self.fitting.values())


class Bench:
    """A running store with one uploaded file of `rows` rows."""

    def __init__(self, folder: Path, env: Mapping[str, str], landing: str, state: str, rows: int) -> None:
        from trimtab.adapters import s3

        self.folder = folder
        self.env = dict(env)
        self.state = state
        self.buckets = s3.connect()
        self.spec = SPEC.format(landing=landing)
        self.buckets.bucket(landing).put("rows.csv", rows_as_csv(rows))
        self.imports = folder / "imports"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(RECORDER)
        self.imports.mkdir()

    def record_imports(self) -> None:
        """One run, not timed, that writes down what each step imports; it also warms caches and bytecode."""
        self.run({"PYTHONPATH": str(self.folder / "site"), "RECORD_TO": str(self.imports)})
        missing = [step for step in STEPS if not (self.imports / f"{step}.json").exists()]
        if missing:
            raise SystemExit(f"found no record of what {', '.join(missing)} imports")

    def run(self, extra: Mapping[str, str] | None = None) -> Run:
        """A whole run in a namespace of its own, so that nothing is there yet."""
        namespace = uuid.uuid4().hex[:8]
        launcher = LocalLauncher(self.folder / "runs", Environment.pipeline, {**self.env, **(extra or {})})
        state = f"s3://{self.state}/{namespace}"
        request = RunRequest(str(uuid.uuid4()), "overhead", self.spec, state, (), "sdk", "")
        began, cpu = time.perf_counter(), cpu_of_children()
        status = launcher.launch(request)
        while status.phase in (RunPhase.PENDING, RunPhase.RUNNING):
            time.sleep(0.02)
            status = launcher.look_up(request.run_id) or status
        seconds = time.perf_counter() - began
        log = launcher.logs(request.run_id, 1000)
        if status.phase is not RunPhase.SUCCEEDED:
            raise SystemExit("\n".join([*log, f"the run failed: {status.error}"]))
        wait_for(json.loads((launcher.folder / request.run_id / "process.json").read_text())["pid"])
        return Run(seconds, step_seconds(log), self._fitting(state), cpu_of_children() - cpu)

    def _fitting(self, address: str) -> dict[str, float]:
        from trimtab.adapters.state import State

        state = State.open(self.buckets, address, "overhead")
        (decision,) = state.decisions.all()
        records = {step: state.data.step(decision.run_key, step) for step in FITTING}
        return {step: float(record["seconds"]) for step, record in records.items() if record}

    def floor(self) -> tuple[dict[str, float], float]:
        """Seconds of a fresh process that only imports what the step imports, by step; and their processor seconds."""
        seconds, cpu = {}, cpu_of_children()
        for step in STEPS:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", IMPORTER, str(self.imports / f"{step}.json")], check=True)
            seconds[step] = time.perf_counter() - began
        return seconds, cpu_of_children() - cpu


def cpu_of_children() -> float:
    """Processor seconds of the processes that this one, or a child of it, has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_for(pid: int) -> None:
    """Until the child has ended, and its seconds are counted."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(30)


def step_seconds(log: list[str]) -> dict[str, float]:
    """From lines such as `12:00:00 train: done in 1.23 s`."""
    seconds = {}
    for line in log:
        _, _, said = line.partition(" ")
        step, _, rest = said.partition(": ")
        if step in STEPS and rest.startswith("done in "):
            seconds[step] = float(rest.split()[2])
    return seconds


def rows_as_csv(rows: int) -> bytes:
    """Hourly rows with two numeric effects, one of a category, and noise; always the same."""
    rng = random.Random(0)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    lines = ["ts,kind,x1,x2,x3,y"]
    for i in range(rows):
        kind, x1, x2, x3 = rng.choice("abc"), rng.gauss(0, 1), rng.gauss(5, 2), rng.random()
        y = 10 + 3 * x1 - x2 + {"a": 0, "b": 2, "c": 4}[kind] + rng.gauss(0, 0.5)
        lines.append(f"{begin + timedelta(hours=i):%Y-%m-%dT%H:%M:%S},{kind},{x1:.5f},{x2:.5f},{x3:.5f},{y:.5f}")
    return ("\n".join(lines) + "\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    repetitions = 1 if arguments.quick else 5
    from trimtab.app.embedded.store import Store

    with tempfile.TemporaryDirectory() as name, Store(Path(name) / "store") as store:
        os.environ.update(store.environment)
        landing, state = store.create_bucket("landing"), store.create_bucket("state")
        bench = Bench(Path(name), store.environment, landing, state, arguments.rows)
        bench.record_imports()
        pairs = [(bench.run(), bench.floor()) for _ in range(repetitions)]
    report([run for run, _ in pairs], [floor for _, floor in pairs], arguments.rows)


def report(runs: list[Run], floors: list[tuple[dict[str, float], float]], rows: int) -> None:
    wall = {step: statistics.median(run.steps[step] for run in runs) for step in STEPS}
    fits = {step: statistics.median(run.fitting.get(step, 0.0) for run in runs) for step in STEPS}
    imports = {step: statistics.median(floor[step] for floor, _ in floors) for step in STEPS}
    beside = statistics.median(run.beside_fitting for run in runs)
    floor = statistics.median(sum(floor.values()) for floor, _ in floors)
    cpu = statistics.median(run.cpu for run in runs), statistics.median(cpu for _, cpu in floors)
    engine = statistics.median(run.seconds - sum(run.steps.values()) for run in runs)
    ratio = beside / floor

    print(f"{rows} rows, 7 steps, {len(runs)} repetition(s) in turn with the floor, medians in seconds\n")
    table = [
        (
            step,
            *(
                f"{value:.2f}"
                for value in (wall[step], fits[step], imports[step], wall[step] - fits[step] - imports[step])
            ),
        )
        for step in STEPS
    ]
    table.append(("kfp.local's own process", f"{engine:.2f}", "", "", f"{engine:.2f}"))
    table.append(
        (
            "whole run",
            f"{beside + sum(fits.values()):.2f}",
            f"{sum(fits.values()):.2f}",
            f"{floor:.2f}",
            f"{beside - floor:.2f}",
        )
    )
    show(("", "wall", "fitting", "imports", "the rest"), table)
    print(f"\nfitting aside {beside:.2f} s, floor {floor:.2f} s: {ratio:.2f} x the floor (target: at most {TARGET})")
    print(f"processor seconds, the fits included: {cpu[0]:.2f} and {cpu[1]:.2f}, {cpu[0] / cpu[1]:.2f} x")
    figures = {
        "benchmark": "run_overhead",
        "rows": rows,
        "repetitions": len(runs),
        "seconds_beside_fitting": round(beside, 3),
        "fitting_seconds": round(sum(fits.values()), 3),
        "floor_seconds": round(floor, 3),
        "ratio": round(ratio, 3),
        "target_ratio": TARGET,
        "cpu_seconds": round(cpu[0], 3),
        "floor_cpu_seconds": round(cpu[1], 3),
        "steps": {step: {"wall": wall[step], "imports": imports[step], "fitting": fits[step]} for step in STEPS},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
