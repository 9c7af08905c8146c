"""Users of model `kiln`: steady requests through the mesh, every answer kept, soon the truth of each as a label."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiln import CRACKS_FROM, NAME

Body = dict[str, Any]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORKERS = 8
ANSWER_SECONDS = 20.0
UNHEATED = 0.25  # share of bricks that were never heated


class Mesh:
    """`mesh.py` as a process of this one: it ends with it, or by its pid."""

    def __init__(self, kubeconfig: Path, folder: Path, namespace: str) -> None:
        self.folder = folder
        self.port = _free_port()
        folder.mkdir()
        self._log = folder.parent / "mesh.log"
        env = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(HERE / "mesh.py"), "--namespace", namespace, "--port", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*command, "--folder", str(folder)], env=env, stdout=log, stderr=log)

    def splits(self) -> list[Body]:
        """What Envoy has worked by so far: `at`, `weights`, `mirror`."""
        file = self.folder / "applied.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        found = [json.loads(line) for line in lines]
        return [{"at": each["at"], **each[NAME]} for each in found if NAME in each]

    def requests(self) -> list[Body]:
        """Those that were answered, or not, as Envoy tells it."""
        file = self.folder / "access.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def check(self) -> None:
        assert self._process.poll() is None, self._log.read_text()[-3000:]


@dataclass(frozen=True, slots=True)
class Answered:
    """
    One request.

    Attributes:
        at: Wall seconds at which it was sent.
        code: 0 where no answer came.
        version: That answered by its own word; 0 where none did.
    """

    at: float
    seconds: float
    code: int
    version: int
    id: str
    heat: float
    said: str


class Users:
    """
    Args:
        port: Of the mesh.
        rate: Requests a second.
        labels: Where the truth is told, with the token.
    """

    def __init__(self, port: int, path: str, rate: float, labels: str, token: str) -> None:
        self._port = port
        self._path = f"{path}/api/v1.0/predictions"
        self._pause = WORKERS / rate
        self._labels = labels
        self._token = token
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Answered] = []
        self._untold: list[Answered] = []
        self.labelled = 0
        asking = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(WORKERS)]
        self._threads = [*asking, threading.Thread(target=self._tell, daemon=True)]
        for thread in self._threads:
            thread.start()

    def answers(self, since: float = 0.0) -> list[Answered]:
        """Oldest first."""
        with self._lock:
            return sorted((each for each in self._answers if each.at >= since), key=lambda each: each.at)

    def failed(self, since: float = 0.0) -> list[Answered]:
        return [each for each in self.answers(since) if each.code != http.client.OK]

    def shares(self, since: float) -> dict[int, int]:
        """Answers by version."""
        return dict(Counter(each.version for each in self.answers(since)))

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    # Asking

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        due = time.monotonic() + self._pause * number / WORKERS
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - self._pause)  # who was held up does not catch up on it all
            heat = 0.0 if chance.random() < UNHEATED else round(chance.uniform(0.1, 10), 3)
            answer = self._one(connection, heat)
            with self._lock:
                self._answers.append(answer)
                if answer.code == http.client.OK:
                    self._untold.append(answer)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, heat: float) -> Answered:
        body = json.dumps({"data": {"names": ["heat"], "ndarray": [[heat]]}})
        at, began = time.time(), time.monotonic()
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answered(at, time.monotonic() - began, 0, 0, "", heat, repr(error))
        version = int(answer.headers.get("x-model-version", "0"))
        name = answer.headers.get("Seldon-Puid", "")
        return Answered(at, time.monotonic() - began, answer.status, version, name, heat, said[:300])

    # Telling

    def _tell(self) -> None:
        while not self._ending.wait(1.0):
            with self._lock:
                telling, self._untold = self._untold, []
            if not telling:
                continue
            labels = [{"requestId": each.id, "cracked": each.heat > CRACKS_FROM} for each in telling]
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            request = urllib.request.Request(self._labels, json.dumps({"labels": labels}).encode(), headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                    self.labelled += len(labels)
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) and error.code < http.client.INTERNAL_SERVER_ERROR:
                    raise
                with self._lock:  # told again: the store is away
                    self._untold = [*telling, *self._untold]


def _free_port() -> int:
    """Below those that the system gives to whoever connects."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
