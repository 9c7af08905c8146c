"""A platform as its user runs it, made to die where and when a test wants, and what must come out all the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from trimtab.adapters import crash, s3
from trimtab.adapters.rows import load_rows
from trimtab.adapters.state import State
from trimtab.app import settings
from trimtab.app.execution import MOST_ATTEMPTS
from trimtab.core.errors import TrimtabError
from trimtab.core.ports import Buckets
from trimtab.core.spec import load

SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data:
    source: s3://landing/small/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
      x: {type: float}
      'y': {type: float}
  triggers: {upload: {minNewRows: 20, settle: 0s}}
  window: {strategy: all, minRows: 50}
  training: {estimator: "sklearn.tree:DecisionTreeRegressor", parameters: {max_depth: 3}}
  evaluation: {holdout: 2d, block: 6h, primary: mean_absolute_error, margin: 100}
"""
ROWS = 120  # hours in one upload: five days
PATIENCE_SECONDS = 400.0  # for one upload to come to its outcome, kills and a busy machine included


def upload_body(number: int) -> bytes:
    """Upload `number`: five days of hours that follow those of the one before; always the same bytes."""
    draw = random.Random(number)
    start = datetime(2012, 1, 1) + timedelta(hours=ROWS * number)  # noqa: DTZ001  naive times are UTC
    rows = [(start + timedelta(hours=hour), draw.uniform(0, 10)) for hour in range(ROWS)]
    return "".join(
        ["ts,x,y\n", *(f"{when.isoformat()},{x:.4f},{3 * x + number + draw.gauss(0, 0.3):.4f}\n" for when, x in rows)]
    ).encode()


@dataclass(frozen=True)
class Result:
    """What must be the same however often something was killed on the way."""

    dataset: str
    training_digest: str
    artifact: str
    champion: int | None


class Site:
    """`trimtab up` in a folder; every named point to die at is passed, until `arm` says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        for point in crash.POINTS:
            (self.marks / point).touch()
        (folder / "model.yaml").write_text(SPEC)
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    # The platform

    def start(self) -> None:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
        cache = {"TRIMTAB_CACHE": str(self.folder / "cache")}
        crashing = {"TRIMTAB_CRASH_AT": ",".join(crash.POINTS), "TRIMTAB_CRASH_MARKS": str(self.marks)}
        # Policy is measured on the uploads' own time, so that it is the same however long a recovery took.
        clock = {"TRIMTAB_POLICY_CLOCK": "stream"}
        command = [str(Path(sys.executable).with_name("trimtab")), "up", "-f", "model.yaml", "--listing", "0.5"]
        self.said = self.folder / f"up-{self.restarts}.out"
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=keep | cache | crashing | clock, stdout=output, stderr=output
            )
        self.wait_for(lambda: "is ready" in self.said.read_text() or not self.alive)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def keep_up(self) -> None:
        """Start it again if it died, as its user would."""
        if not self.alive:
            self.restarts += 1
            self.start()

    def stop(self) -> None:
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=90)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def family(self) -> list[psutil.Process]:
        """The platform's children and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True) if self.process and self.alive else []

    def orphans(self) -> list[str]:
        """Processes that belong to this folder although no platform runs: by what they were started with, or where."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                command, around = " ".join(process.cmdline()), [process.cwd(), *process.environ().values()]
                ours = str(self.folder) in command or any(value.startswith(str(self.folder)) for value in around)
                if process.pid != os.getpid() and ours:
                    found.append(f"{process.pid} {process.status()}: {command[:200]}")
        return found

    # The way to die

    def arm(self, point: str) -> None:
        """The next process that comes to this point kills itself."""
        (self.marks / point).unlink()

    def fired(self, point: str) -> bool:
        return (self.marks / point).exists()

    # Its state

    def connect(self, environ: Any = os.environ) -> tuple[Buckets, State]:
        environ.update(settings.read(self.folder / settings.FOLDER / settings.FILE))
        buckets = s3.connect()
        return buckets, State.open(buckets, "s3://trimtab-state/default", "small", self.folder / "seen")

    def upload(self, number: int) -> None:
        """Put it, as often as it takes while the platform or its store is coming up again."""

        def put() -> bool:
            self.keep_up()
            with suppress(TrimtabError):
                buckets, _ = self.connect()
                buckets.bucket("landing").put(f"small/{number:03d}.csv", upload_body(number))
                return True
            return False

        self.wait_for(put)

    def wait_for(self, look: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:.0f} s; the platform said:\n{self.said.read_text()[-3000:]}")

    def wait_for_outcome(self, number: int) -> None:
        """Until decision `number` has its outcome and its log; the platform is started again whenever it died."""

        def over() -> bool:
            self.keep_up()
            with suppress(TrimtabError):
                _, state = self.connect()
                claim = state.decisions.claim(number)
                ended = state.decisions.outcome(number) is not None
                return ended and claim is not None and state.data.log(claim.run_id) is not None
            return False

        self.wait_for(over)

    def results(self) -> list[Result]:
        """Of each decision in order: what it learned from, and what came of it."""
        _, state = self.connect()
        found = []
        for decision in state.decisions.all():
            version = state.registry.version_of(decision.run_key)
            manifests = [each for each in state.registry.manifests() if each.run_key == decision.run_key]
            artifact = version.artifact if version else ""
            champion = manifests[-1].champion if manifests else None
            found.append(Result(decision.dataset, decision.training_digest, artifact, champion))
        return found

    def check_invariants(self) -> None:
        """What holds whatever happened: nothing lost, nothing twice, nothing half done."""
        _, state = self.connect()
        entries, outcomes = state.ledger.entries(), state.ledger.outcomes()
        decisions, ended = state.decisions.all(), state.decisions.outcomes()
        assert set(outcomes) == set(entries)
        rows = {partition.id: partition.rows for o in outcomes.values() if (partition := o.partition) is not None}
        assert (len(rows), sum(rows.values())) == (len(entries), ROWS * len(entries)), "rows were lost, or kept twice"
        offered = [entry for decision in decisions for entry in decision.entries]
        assert len(offered) == len(set(offered)), "an upload was offered twice"
        assert {decision.number for decision in decisions} == set(ended), "a claim is stuck"
        for decision in decisions:
            dataset = state.data.dataset(decision.dataset)
            times = load_rows(state, dataset, load(SPEC).spec.data)["ts"].to_list()
            assert len(times) == len(set(times)) == ROWS * len(dataset.partitions), "a row stands twice in a window"
            claim = state.decisions.claim(decision.number)
            assert claim is not None
            assert claim.attempt <= MOST_ATTEMPTS
        versions = {version.number: version for version in state.registry.versions()}
        assert list(versions) == list(range(1, len(versions) + 1)), "a version number was left out"
        assert len({version.run_key for version in versions.values()}) == len(versions), "a run registered twice"
        before = None
        for manifest in state.registry.manifests():
            assert manifest.champion in versions
            assert manifest.previous == before, "an alias was lost"
            before = manifest.champion
            state.registry.artifact(versions[manifest.champion].artifact)  # stands in the store, with this digest
        told = [entry.id for entry in state.journal.entries()]
        assert len(told) == len(set(told)), "something was told twice"


@pytest.fixture
def make_site(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Site]]:
    """Makes platforms in folders of their own; whatever the test made of them, nothing stays."""
    before = dict(os.environ)
    sites: list[Site] = []

    def make() -> Site:
        sites.append(Site(tmp_path_factory.mktemp("site")))
        sites[-1].start()
        return sites[-1]

    yield make
    for site in sites:
        for member in [*site.family(), *([psutil.Process(site.process.pid)] if site.process and site.alive else [])]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
