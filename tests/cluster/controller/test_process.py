"""The controller's own process against a real API server: apply, check, decision, and what is killed on the way."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bikes
import pytest
import yaml

from trimtab.adapters import s3
from trimtab.adapters.kubernetes.conditions import find
from trimtab.adapters.kubernetes.kinds import JOB, LEASE, MODEL, POD, Kind
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import ARRIVED
from trimtab.app.embedded.store import Store
from trimtab.core.records import IntakeOutcome, LedgerEntry, Partition, entry_id
from trimtab.core.spec.document import read

SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
PASSED = json.dumps({"ok": True, "code": "", "sklearn": "1.9.1"})
SPEC = bikes.spec(source="s3://landing/FOLDER/")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("store"), buckets=("state", "landing")) as started:
        yield started


@pytest.fixture
def buckets(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in {**store.environment, "TRIMTAB_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return s3.connect()


class Controllers:
    """Controller processes of one namespace."""

    def __init__(self, cluster: Any, accounts: Any, namespace: str, folder: Path) -> None:
        self._cluster, self._namespace, self._folder = cluster, namespace, folder
        self.kubeconfig = Path(accounts.kubeconfig("controller"))
        accounts.leads_in(namespace)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        name = f"controller-{len(self.running)}"
        env = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "TRIMTAB_STATE_BUCKET": "state",
            "TRIMTAB_WATCH_NAMESPACES": self._namespace,
            "TRIMTAB_PIPELINE_IMAGE": "trimtab/pipeline:test",
            "TRIMTAB_KFP_URL": "http://127.0.0.1:9",  # a decision is made although its run cannot be sent
            "POD_NAME": name,
            "POD_NAMESPACE": self._namespace,
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "trimtab.app.cluster.controller"]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        self.running.append(process)
        return process

    def leader(self) -> str:
        lease = self._cluster.api.find(LEASE, self._namespace, "trimtab-controller")
        return str(lease["spec"].get("holderIdentity") or "") if lease else ""

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace") for file in sorted(self._folder.glob("controller-*.log")))

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Relay:
    """Passes connections on to an address, and cuts them; bound to 127.0.0.1."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.passed = 0  # connections
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refusing = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """End every connection, without a word to either side. Returns how many there were."""
        with self._lock:
            some, self._open = self._open, set()
        for each in some:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(some) // 2

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Cut, and no connection comes about meanwhile."""
        self._refusing.set()
        self.cut()
        try:
            yield
        finally:
            self._refusing.clear()

    def close(self) -> None:
        self._refusing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self._to)
            except OSError:  # the API server is away
                taken.close()
                continue
            with self._lock:
                refused = (
                    self._refusing.is_set()
                )  # under the lock: `away` cuts what came before, and nothing comes after
                if not refused:
                    self._open |= {taken, there}
                    self.passed += 1
            if refused:
                taken.close()
                there.close()
                continue
            for pair in ((taken, there), (there, taken)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while body := one.recv(1 << 16):
                other.sendall(body)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {one, other}
        one.close()


@pytest.fixture
def relay(controllers: Controllers, tmp_path: Path) -> Iterator[Relay]:
    """What stands between the controllers of this test and the API server."""
    given = yaml.safe_load(controllers.kubeconfig.read_text())
    (named,) = given["clusters"]
    server = urlsplit(named["cluster"]["server"])
    if server.hostname != "127.0.0.1":
        pytest.skip("the cluster is somebody else's: its certificate names no relay on this machine")
    assert server.port is not None
    found = Relay(server.hostname, server.port)
    named["cluster"]["server"] = f"https://127.0.0.1:{found.port}"
    controllers.kubeconfig = tmp_path / "relayed.kubeconfig"
    controllers.kubeconfig.write_text(yaml.safe_dump(given))
    yield found
    found.close()


@pytest.fixture
def controllers(cluster: Any, accounts: Any, namespace: str, buckets: Any, tmp_path: Path) -> Iterator[Controllers]:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trimtab-model"}}
    cluster.api.create(SERVICE_ACCOUNT, body, namespace)
    found = Controllers(cluster, accounts, namespace, tmp_path)
    yield found
    found.stop()


def until(look: Callable[[], Any], controllers: Controllers, seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, controllers.logs()[-3000:]
        time.sleep(0.05)
    return found


def apply(cluster: Any, namespace: str, text: str = SPEC) -> None:
    written = read(text.replace("FOLDER", namespace), "model.yaml").value
    done = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(written))
    assert done.returncode == 0, done.stderr


def condition(cluster: Any, namespace: str, type: str) -> tuple[str, str]:
    status = cluster.api.get(MODEL, namespace, "bikes").get("status") or {}
    found = find(status.get("conditions") or (), type)
    return (found["status"], found["reason"]) if found else ("", "")


def seen_generation(cluster: Any, namespace: str) -> int:
    """Of the spec that the controller has looked at."""
    status = cluster.api.get(MODEL, namespace, "bikes").get("status") or {}
    return int(status.get("observedGeneration") or 0)


def check_ends(cluster: Any, namespace: str, controllers: Controllers, message: str = PASSED) -> None:
    """The pod that the Job's controller made ends with this message, as a kubelet would say."""
    pod = until(lambda: next(iter(cluster.api.list(POD, namespace)[0]), None), controllers)
    ended = {"exitCode": 0, "message": message, "reason": "Completed"}
    container = {
        "name": "check",
        "image": "trimtab/pipeline:test",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    status = {"status": {"phase": "Succeeded", "containerStatuses": [container]}}
    cluster.api.merge(POD, namespace, pod["metadata"]["name"], status, "status")


def arrive(cluster: Any, buckets: Any, namespace: str) -> State:
    """An upload that the listener took in, and told of."""
    state, key = State.open(buckets, f"s3://state/{namespace}", "bikes"), f"{namespace}/{uuid.uuid4().hex}.csv"
    buckets.bucket("landing").put(key, b"ts,heat,count\n")
    info, now = buckets.bucket("landing").head(key), datetime.now(UTC)
    id = entry_id(namespace, "bikes", "landing", key, info.etag)
    entry = LedgerEntry(
        id=id, bucket="landing", key=key, etag=info.etag, size=14, modified=now, via="webhook", recorded_at=now
    )
    state.ledger.see(entry)
    part = Partition(id=uuid.uuid4().hex, rows=12, labelled=12, quarantined=0, first=now, last=now)
    state.ledger.conclude(
        IntakeOutcome(entry=id, state="ingested", sha256=id, partition=part, decided_at=now, recorded_at=now)
    )
    note = {"metadata": {"annotations": {ARRIVED: now.isoformat()}}}
    cluster.api.merge(MODEL, namespace, "bikes", note)
    return state


def test_from_apply_to_a_decision_with_nothing_run_before_the_check(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    apply(cluster, namespace)
    state = arrive(cluster, buckets, namespace)
    controllers.start()
    until(lambda: condition(cluster, namespace, "Accepted") == ("Unknown", "Checking"), controllers)
    assert state.decisions.all() == []
    check_ends(cluster, namespace, controllers)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    until(state.decisions.all, controllers)
    until(lambda: condition(cluster, namespace, "Working") == ("False", "Problem"), controllers)  # no KFP is there
    assert "KFP" in cluster.api.get(MODEL, namespace, "bikes")["status"]["problems"][0]


def test_a_refused_estimator_shows_in_kubectl_and_starts_nothing(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    apply(cluster, namespace)
    state = arrive(cluster, buckets, namespace)
    controllers.start()
    sentence = "spec.training.parameters.depth: LinearRegression has no such parameter"
    check_ends(cluster, namespace, controllers, json.dumps({"ok": False, "message": sentence}))
    until(lambda: condition(cluster, namespace, "Accepted") == ("False", "Refused"), controllers)
    shown = cluster.kubectl("get", "continuousmodel", "bikes", "-n", namespace, "-o", "yaml").stdout
    assert sentence in shown
    assert state.decisions.all() == []


def test_a_killed_leader_is_followed_by_the_one_that_stands_by(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    apply(cluster, namespace)
    first = controllers.start()
    check_ends(cluster, namespace, controllers)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    state = State.open(buckets, f"s3://state/{namespace}", "bikes")
    epoch = until(state.lease.who, controllers).epoch
    controllers.start()
    first.kill()
    first.wait()
    until(lambda: controllers.leader().startswith("controller-1"), controllers)
    until(lambda: (held := state.lease.who()) and held.epoch > epoch, controllers)
    arrive(cluster, buckets, namespace)
    until(state.decisions.all, controllers)
    assert len(cluster.api.list(JOB, namespace)[0]) == 1  # nothing was checked again


def test_an_api_server_that_comes_back_is_watched_again(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    if cluster.plane is None:
        pytest.skip("the cluster is somebody else's: its API server is left alone")
    apply(cluster, namespace)
    controllers.start()
    check_ends(cluster, namespace, controllers)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    cluster.restart_api_server()
    state = arrive(cluster, buckets, namespace)

    def decided() -> bool:
        # Where it was away for long, the leader has ended: the kubelet starts it again.
        if controllers.running[-1].poll() is not None:
            controllers.start()
        return bool(state.decisions.all())

    until(decided, controllers)


def test_watches_that_are_cut_miss_nothing(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers, relay: Relay
) -> None:
    apply(cluster, namespace)
    controllers.start()
    check_ends(cluster, namespace, controllers)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    for number in range(3):
        assert relay.cut() > 0
        suspended = {"spec": {"suspend": number % 2 == 0}}
        generation = cluster.api.merge(MODEL, namespace, "bikes", suspended)["metadata"]["generation"]
        # Far below the four minutes after which a watch begins anew by itself.
        until(lambda generation=generation: seen_generation(cluster, namespace) >= generation, controllers, 60.0)
    cluster.api.merge(MODEL, namespace, "bikes", {"spec": {"suspend": False}})
    with relay.away():
        # Nobody is told of these two: an upload, and a model of this name that is another one by now.
        first = cluster.api.get(MODEL, namespace, "bikes")["metadata"]["uid"]
        cluster.api.delete(MODEL, namespace, "bikes")
        until(lambda: cluster.api.find(MODEL, namespace, "bikes") is None, controllers)
        apply(cluster, namespace)
        state = arrive(cluster, buckets, namespace)
    assert cluster.api.get(MODEL, namespace, "bikes")["metadata"]["uid"] != first
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    until(state.decisions.all, controllers)
    assert len(state.decisions.all()) == 1
    assert controllers.running[0].poll() is None, "cut connections are no reason to end"


def test_a_deleted_model_is_left_and_a_new_one_of_its_name_is_led(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    apply(cluster, namespace)
    controllers.start()
    check_ends(cluster, namespace, controllers)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)
    cluster.api.delete(MODEL, namespace, "bikes")
    state = State.open(buckets, f"s3://state/{namespace}", "bikes")
    until(lambda: state.lease.who() is None, controllers)
    apply(cluster, namespace)
    until(lambda: condition(cluster, namespace, "Accepted") == ("True", "Accepted"), controllers)


def test_a_clean_end_gives_the_lease_back_at_once(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    process = controllers.start()
    until(lambda: controllers.leader().startswith("controller-0"), controllers)
    process.terminate()
    assert process.wait(60) == 0, controllers.logs()
    assert controllers.leader() == ""


def test_a_check_without_a_verdict_gives_way_to_another(
    cluster: Any, namespace: str, buckets: Any, controllers: Controllers
) -> None:
    apply(cluster, namespace)
    controllers.start()
    check_ends(cluster, namespace, controllers, "")
    (first,) = until(lambda: cluster.api.list(JOB, namespace)[0], controllers)

    def another() -> bool:
        return any(each["metadata"]["uid"] != first["metadata"]["uid"] for each in cluster.api.list(JOB, namespace)[0])

    until(another, controllers)
