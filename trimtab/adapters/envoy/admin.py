"""Envoy's admin socket: what it has, what is under way, and its access log's new beginning."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from trimtab.adapters.envoy.bootstrap import ADMIN, STAT_PREFIX
from trimtab.core.errors import Unavailable

TIMEOUT_SECONDS = 2.0
LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes
ROUTES_VERSION = f"http.{STAT_PREFIX}.rds.gateway.version_text"
CLUSTERS_VERSION = "cluster_manager.cds.version_text"
WARMING = "cluster_manager.warming_clusters"
REJECTED = f"http.{STAT_PREFIX}.rds.gateway.update_rejected"
ACTIVE = f"http.{STAT_PREFIX}.downstream_rq_active"
CLUSTER_REJECTED = "cluster_manager.cds.update_rejected"


class Admin:
    """
    The admin socket of the Envoy that runs in `folder`.

    Every call raises Unavailable while it does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def versions(self) -> tuple[str, str]:
        """`version_info` of the clusters and of the routes that it works with; empty before it has any."""
        stats = self._stats("version_text$", kind="TextReadouts")
        return str(stats.get(CLUSTERS_VERSION, "")), str(stats.get(ROUTES_VERSION, ""))

    def settled(self) -> bool:
        """Whether every cluster that it was told of is in use."""
        return self._stats("^cluster_manager.warming_clusters$").get(WARMING) == 0

    def rejected(self) -> int:
        """How many files it has refused since it started."""
        stats = self._stats("update_rejected$")
        return int(stats.get(REJECTED, 0)) + int(stats.get(CLUSTER_REJECTED, 0))

    def under_way(self, cluster: str = "") -> int:
        """Requests that are being answered, by the cluster or at all; 0 for a cluster that it does not know."""
        name = f"cluster.{cluster}.upstream_rq_active" if cluster else ACTIVE
        return int(self._stats(f"^{name}$".replace(".", r"\.")).get(name, 0))

    def reopen_log(self) -> None:
        """Go on in a new access log where the old one was renamed."""
        self._ask("POST", "/reopen_logs")

    def stop_listening(self) -> None:
        """Take no new connection; answer what is under way."""
        self._ask("POST", "/drain_listeners")

    def _stats(self, pattern: str, kind: str = "") -> dict[str, Any]:
        text = self._ask("GET", f"/stats?format=json&filter={pattern}" + (f"&type={kind}" if kind else ""))
        return {stat["name"]: stat["value"] for stat in json.loads(text)["stats"] if "name" in stat}

    def _ask(self, method: str, path: str) -> str:
        connection = _Connection(self._folder)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the gateway in {self._folder} does not answer: {error}", "it is started again by itself"
            ) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise Unavailable(f"the gateway answers {path} with {answer.status}: {text[:200]}")
        return text


class _Connection(http.client.HTTPConnection):
    """HTTP over the unix socket of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("admin", timeout=TIMEOUT_SECONDS)
        self._folder = folder

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        path = self._folder / ADMIN
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            self.sock.connect(str(path))
            return
        # A path that is too long for the kernel is short by way of the open folder.
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{descriptor}/{ADMIN}")
        finally:
            os.close(descriptor)
