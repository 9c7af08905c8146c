"""Real parts for every test: one SeaweedFS a worker, fresh buckets a test."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import hypothesis
import pytest

if TYPE_CHECKING:
    from trimtab.app.embedded.store import Store
    from trimtab.core.ports import Buckets

# A busy machine is no failure: how long an example takes says nothing of what it is to show.
hypothesis.settings.register_profile("trimtab", deadline=None)
hypothesis.settings.load_profile("trimtab")

# What could send a test to a store of the developer's own.
FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "TRIMTAB_STATE_BUCKET", "TRIMTAB_URL")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies of what tests read go to a folder of their own, not to the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIMTAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A running store, shared by all tests of this worker: never stop it, never rely on what else it holds."""
    from trimtab.app.embedded.store import Store

    with Store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets AWS_* for this test, for boto3 here and in child processes; returns the variables."""
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store.environment


@pytest.fixture
def buckets(environment: dict[str, str]) -> Buckets:
    """The store as the library sees it."""
    from trimtab.adapters import s3

    return s3.connect()


@pytest.fixture
def state_bucket(store: Store) -> str:
    """The name of a new, empty bucket for state."""
    return store.create_bucket(f"state-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def landing_bucket(store: Store) -> str:
    """The name of a new, empty bucket for users' data."""
    return store.create_bucket(f"landing-{uuid.uuid4().hex[:12]}")


class StandIns:
    """Envoy and small servers in place of model servers, steered by files: see tests/stand_in.py."""

    TOKEN = "gateway-token"

    def __init__(self, folder: Path) -> None:
        from trimtab.app.embedded.gateway import Gateway, hold_port
        from trimtab.app.embedded.traffic import EmbeddedTraffic
        from trimtab.app.embedded.variants import Variants

        self.folder = folder
        self.said: list[str] = []
        self.held = hold_port(folder / "ports.json")
        pids = folder / "pids"
        port = self.held.getsockname()[1]
        self.gateway = Gateway(folder / "gateway", port, self.TOKEN, pids=pids, tell=self.said.append)
        command = [sys.executable, "-S", str(Path(__file__).with_name("stand_in.py"))]
        environ = {"STAND_IN_FOLDER": str(folder)}
        self.variants = Variants(command, environ, folder=folder / "serving", pids=pids, tell=self.said.append)
        self.traffic = EmbeddedTraffic("flights", self.gateway, self.variants, self.said.append)

    def start(self) -> None:
        self.traffic.start()

    def stop(self) -> None:
        self.traffic.stop()
        self.held.close()

    def make_ready(self, *versions: int) -> None:
        for version in versions:
            (self.folder / f"v{version}.ready").touch()

    def break_down(self, version: int, why: str) -> None:
        """The version ends at each start that comes."""
        (self.folder / f"v{version}.broken").write_text(why)

    def mend(self, version: int) -> None:
        (self.folder / f"v{version}.broken").unlink()

    def crash(self, version: int) -> None:
        """Kill the version's process group."""
        pid = self.variants[version].pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)

    def ask(self, path: str = "/api/v1.0/predictions", **headers: str) -> httpx.Response:
        """One prediction by the gateway; underscores in names of headers stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json={"data": {"ndarray": [[1]]}}, headers=named)

    @cached_property
    def client(self) -> httpx.Client:
        authorization = {"authorization": f"Bearer {self.TOKEN}"}
        return httpx.Client(base_url=self.gateway.url, headers=authorization, timeout=30, trust_env=False)

    def send(self, requests: int, user: str = "") -> list[int]:
        """Which versions answered, in order."""
        named = {"x_entity_id": user} if user else {}
        return [int(self.ask(**named).raise_for_status().json()["version"][1:]) for _ in range(requests)]


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[StandIns]:
    """Running; nobody serves yet."""
    rig = StandIns(tmp_path)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()
