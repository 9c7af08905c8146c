"""The stand-in for Seldon's operator as a process that a test may end, start and switch."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SECONDS = 120.0


class SeldonOperator:
    """
    Args:
        folder: For its certificate and log.
        namespaces: Beginning of the names of those it looks after; empty: all.
        label: KEY=VALUE of those that its webhook is asked about; empty: all.
        host: Where the API server reaches this machine.
    """

    def __init__(
        self, kubeconfig: Path, folder: Path, port: int, namespaces: str = "", label: str = "", host: str = "127.0.0.1"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "seldon.log"
        self._port = port
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(HERE)}
        tls = ["--tls-folder", str(folder / "tls"), "--port", str(port), "--url-host", host]
        address = [] if host == "127.0.0.1" else ["--address", "0.0.0.0"]  # noqa: S104 the API server is elsewhere
        chosen = ["--namespaces", namespaces, "--namespace-label", label, "--suffix", folder.name]
        self._command = [sys.executable, "-m", "seldon", *tls, *address, *chosen]
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it, unless it runs, and wait until it sees everything and its webhook answers."""
        if self._process is not None and self._process.poll() is None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log, cwd=HERE)
        deadline = time.monotonic() + SECONDS
        while not self._synced():
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            assert self._process.poll() is None, "\n".join(["the stand-in for Seldon's operator ended", *lines])
            assert time.monotonic() < deadline, "\n".join(["the stand-in for Seldon's operator is not up", *lines])
            time.sleep(0.05)

    def down(self) -> None:
        """kill -9: nothing is reconciled, and every create or update of a SeldonDeployment is answered 500."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def delay_status(self, seconds: float) -> None:
        """It believes of Deployments what was the case so long ago (P3), until this is 0 again or it is restarted."""
        self._ask({"delayStatusSeconds": seconds})

    def restore(self) -> None:
        """As it was at first."""
        self.up()
        self.delay_status(0.0)

    def _synced(self) -> bool:
        try:
            return bool(self._ask({})["synced"])
        except OSError:
            return False

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # our own process, on the loopback
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        request = urllib.request.Request(f"https://127.0.0.1:{self._port}/switch", json.dumps(body).encode())
        with opener.open(request, timeout=20) as answer:
            return dict(json.load(answer))
