"""A platform whose rollouts are led under continuous load, and killed; every answer is kept and held to account."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from trimtab.adapters import crash, estimators, s3
from trimtab.adapters.columns import schema_columns
from trimtab.adapters.environment import serving_python
from trimtab.adapters.models import store_artifact
from trimtab.adapters.state import State
from trimtab.app import settings
from trimtab.core.errors import TrimtabError
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.rollout.values import RolloutState
from trimtab.core.spec import load
from trimtab.serving.assembly import assemble, fit

# Any share of failures is accepted: what is killed here is to be seen to come back, not to be judged.
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://landing/small/
    format: csv
    timestamp: ts
    target: late
    schema:
      x: {type: float}
      late: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: log_loss}
  rollout:
    strategy: canary
    minRequests: 20
    steps: [{shadow: {}}, {setWeight: 20}, {pause: {}}, {setWeight: 50}]
    analysis: {maxErrorRatioIncrease: 1}
    keepPrevious: 10m
"""
CLIENTS = 3
PAUSE_SECONDS = 0.02  # between two requests of a client: the machine has other tests to run
PATIENCE_SECONDS = 240.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """One request of the load: when it was answered, by whom (empty: by nobody), and what went wrong."""

    at: float
    variant: str
    error: str


class Load:
    """Clients that ask without end; each on a connection of its own, made again after a failure."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/api/v1.0/predictions"
        self._headers = {"authorization": f"Bearer {token}"}
        self._stopping = threading.Event()
        self.asked: list[Asked] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        body = {"data": {"names": ["x"], "ndarray": [[0.5]]}}
        while not self._stopping.is_set():
            with httpx.Client(headers=self._headers, trust_env=False, timeout=30) as client:
                while not self._stopping.wait(PAUSE_SECONDS):
                    try:
                        answer = client.post(self._url, json=body)
                    except httpx.HTTPError as error:
                        self.asked.append(Asked(time.time(), "", type(error).__name__))
                        break
                    wrong = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:120]}"
                    variant = answer.headers.get("x-model-variant", "")
                    self.asked.append(Asked(time.time(), variant if not wrong else "", wrong))

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def answered_since(self, moment: float) -> list[Asked]:
        return [each for each in list(self.asked) if each.at >= moment and not each.error]


class Site:
    """`trimtab up` in a folder under load; started again whenever it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        for point in crash.ROLLOUT_POINTS:
            (self.marks / point).touch()
        (folder / "model.yaml").write_text(SPEC)
        self.process: subprocess.Popen[bytes] | None = None
        self.down: list[list[float]] = []  # since when and until when nobody could serve
        self.kills = 0  # of processes that others stood in for
        self.starts = 0
        self.died = 0.0  # when the platform was seen to be gone
        self.load: Load | None = None

    # The platform

    def start(self) -> None:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
        told = {
            "TRIMTAB_CACHE": str(self.folder / "cache"),
            "TRIMTAB_CRASH_AT": ",".join(crash.ROLLOUT_POINTS),
            "TRIMTAB_CRASH_MARKS": str(self.marks),
            "TRIMTAB_SERVING_PYTHON": str(serving_python()),
        }
        self.said = self.folder / f"up-{self.starts}.out"
        self.starts += 1
        command = [str(Path(sys.executable).with_name("trimtab")), "up", "-f", "model.yaml"]
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=self.folder, env=keep | told, stdout=output, stderr=output)
        threading.Thread(target=self._note_end, args=(self.process,), daemon=True).start()
        self.wait_for(lambda: "is ready" in self.said.read_text() or not self.alive, keep_up=False)
        self.wait_for(self._state_answers, keep_up=False)

    def _note_end(self, process: subprocess.Popen[bytes]) -> None:
        """From the moment at which it dies nobody can serve; whoever notices it starts it again."""
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).wait()
        self.died = time.time()

    def _state_answers(self) -> bool:
        with suppress(TrimtabError, OSError):
            self.values = settings.read(self.folder / settings.FOLDER / settings.FILE)
            os.environ.update(self.values)
            self.state = State.open(s3.connect(), "s3://trimtab-state/default", "small", self.folder / "seen")
            self.state.registry.manifest()
            return True
        return False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def keep_up(self) -> None:
        """Start it again if it died; nobody can serve from then until the first answer."""
        if self.alive:
            return
        while not self.died:
            time.sleep(0.01)
        died, self.died = self.died, 0.0
        # Its children die with it, some a moment before it is seen to be gone.
        self.down.append([died - 1.0, float("inf")])
        self.start()
        self.wait_for(lambda: self.load is None or self.load.answered_since(died + 1.0))
        self.down[-1][1] = time.time()

    def wait_for(self, look: Callable[[], Any], keep_up: bool = True) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if keep_up and not self.alive:
                self.keep_up()
            with suppress(TrimtabError):
                if found := look():
                    return found
            time.sleep(0.02)
        raise AssertionError(f"not within {PATIENCE_SECONDS:.0f} s; it said:\n{self.said.read_text()[-3000:]}")

    def stop(self) -> None:
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True) if self.process and self.alive else []

    # The model

    def register(self, alias: str) -> int:
        """A version that says of x whether it is positive."""
        model = load(SPEC)
        x = np.linspace(-1, 1, 200)
        pipeline = assemble(schema_columns(model.spec.data), estimators.build(model.spec.training, ""), "matrix")
        artifact = store_artifact(self.state, fit(pipeline, {"x": x.tolist()}, x > 0, 1), ())
        spec = self.state.data.put_spec(SPEC)

        def build(number: int) -> ModelVersion:
            return ModelVersion(
                number=number,
                run_key=f"{number:064d}",
                artifact=artifact,
                evaluated_artifact=artifact,
                dataset="",
                training_digest="",
                spec=spec,
                trained_from=NOW,
                trained_until=NOW,
                rows=200,
                estimator=model.spec.training.estimator,
                seed=0,
                metrics={},
                evaluation={},
                reference="",
                lineage={},
                training_seconds=1.0,
                fits=1,
                recorded_at=NOW,
            )

        number = self.state.registry.add_version(build).number

        def moved(now: Manifest | None) -> Manifest:
            before = now or Manifest(number=0, champion=None, challenger=None, previous=None, cause="", recorded_at=NOW)
            changed = {alias: number, "cause": f"v{number} was registered", "recorded_at": datetime.now(UTC)}
            return before.model_copy(update=changed)

        self.state.registry.publish(moved)
        return number

    def serve_first(self) -> None:
        """A first champion answers, and the load begins."""
        self.register("champion")
        self.load = Load(self.values["TRIMTAB_GATEWAY_URL"], self.values["TRIMTAB_GATEWAY_TOKEN"])
        began = time.time()
        self.down.append([0.0, float("inf")])
        self.wait_for(lambda: self.load and self.load.answered_since(began))
        self.down[-1][1] = time.time()

    def at(self, number: int = 1) -> RolloutState | None:
        return self.state.rollouts.state(number)

    def settled(self, number: int = 1) -> RolloutState | None:
        """The state of a rollout whose last split the router has confirmed."""
        state = self.at(number)
        return state if state is not None and state.epochs and state.epochs[-1].confirmed_from else None

    def champion(self) -> int | None:
        manifest = self.state.registry.manifest()
        return manifest.champion if manifest else None

    # The way to die

    def arm(self, point: str) -> None:
        (self.marks / point).unlink(missing_ok=True)

    def fired(self, point: str) -> bool:
        return (self.marks / point).exists()

    def kill(self, name: str) -> bool:
        """`envoy` or `v2`: one process of it; whether there was one. Others stand in, or it is the champion itself."""
        victims = [member for member in self.family() if _is(member, name)]
        if not victims:
            return False
        champion = name == f"v{self.champion()}"
        killed = time.time()
        for victim in victims[:1] if name == "envoy" else victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if champion:
            self.down.append([killed - 0.1, float("inf")])
            self.wait_for(lambda: self._champion_answers(killed + 0.5))
            self.down[-1][1] = time.time()
        else:
            self.kills += 1
        return True

    def _champion_answers(self, since: float) -> bool:
        """The challenger answers its own share meanwhile, and may have been promoted."""
        assert self.load is not None
        return f"v{self.champion()}" in {each.variant for each in self.load.answered_since(since)}

    # What must hold

    def unexplained(self) -> list[Asked]:
        """Failures while the champion lived; those in flight to a killed process are at most kills x clients."""
        assert self.load is not None
        return [
            each
            for each in list(self.load.asked)
            if each.error and not any(since <= each.at <= until for since, until in self.down)
        ]

    def check(self) -> None:
        failures = self.unexplained()
        assert len(failures) <= self.kills * CLIENTS, failures[:10]
        told = [entry.id for entry in self.state.journal.entries()]
        assert len(told) == len(set(told)), "something was told twice"
        for spec in self.state.rollouts.all():
            state = self.state.rollouts.state(spec.number)
            splits = [e for e in self.state.journal.entries() if e.id.startswith(f"rollout/{spec.number}/split/")]
            assert state is not None
            assert [e.evidence["weightPercent"] for e in splits] == [e.weight_percent for e in state.epochs]
            weights = [epoch.weight_percent for epoch in state.epochs if not state.phase.ended or epoch.weight_percent]
            assert weights == sorted(weights), "a weight went back without a rollback"


def _is(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.Error):
        if name == "envoy":
            return "envoy" in process.name()
        return process.environ().get("TRIMTAB_VERSION") == name[1:] and "seldon" in " ".join(process.cmdline())
    return False


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform whose first champion answers a continuous load; nothing of it stays."""
    assert serving_python() is not None, "tests of serving need `make .venv-serving/serving.done`"
    before = dict(os.environ)
    made = Site(tmp_path_factory.mktemp("rollouts"))
    try:
        made.start()
        made.serve_first()
        yield made
    finally:
        if made.load is not None:
            made.load.stop()
        made.stop()
        for member in [*made.family(), *([psutil.Process(made.process.pid)] if made.process and made.alive else [])]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
