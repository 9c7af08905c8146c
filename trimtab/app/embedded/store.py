"""The embedded S3 store: SeaweedFS as a child process, its data and keys in one folder, closed to anonymous callers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from trimtab.app.embedded import weed
from trimtab.app.embedded.credentials import Credentials, load_or_make
from trimtab.app.embedded.files import make_folder, read_json, write_json
from trimtab.app.embedded.ports import LOOPBACK, free_ports
from trimtab.app.embedded.processes import Child, end_leftovers
from trimtab.core.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
# It answers after about a second; after a crash, starts of 5 to 21 s were seen.
READY_SECONDS = 60.0
LOG_BYTES = 8 << 20  # a longer log is set aside at the next start, and the one set aside before it goes
PORTS = "ports.json"
PROBE = "trimtab-ready-probe"
LOCKS_SECONDS = 15.0  # at most, for the server to say that its locks are settled; it takes half a second
STARTS = 3  # another process may take a port between our look and the server's bind


class Store:
    """
    SeaweedFS under `folder`, started by `start` (or `with`) and stopped by `stop`.

    Args:
        folder: Holds data, log, keys, ports and pid files; made if missing. One store a folder at a time.
        webhook: Where to tell of new objects, or None.
        buckets: Made at the start if they are missing; at least one, which also proves that the store is ready.
        pids: Folder of the pid files; by default `folder/pids`.
        credentials: By default those of `folder/credentials.json`, made at the first start.
    """

    def __init__(
        self,
        folder: Path,
        webhook: weed.Webhook | None = None,
        buckets: Sequence[str] = ("trimtab-state",),
        pids: Path | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._pids = pids or self.folder / "pids"
        self._webhook = webhook
        self._buckets = tuple(buckets)
        self._credentials = credentials
        self._ports: dict[str, int] = {}
        self._child: Child | None = None
        self._client: S3Client | None = None
        self._given_up = threading.Event()
        self._log_from = 0  # where in the log the running server's own lines begin

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The S3 endpoint's address; known once started."""
        return f"http://{LOOPBACK}:{self._ports['s3']}"

    @property
    def ports(self) -> dict[str, int]:
        """Port by server: master, volume, filer, s3, admin."""
        return dict(self._ports)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.pid is not None and self._child.exit_code is None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3, and any other S3 client, reaches this store."""
        credentials = self.credentials
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def credentials(self) -> Credentials:
        if self._credentials is None:
            self._credentials = load_or_make(self.folder)
        return self._credentials

    def start(self) -> dict[str, str]:
        """
        Start the server and wait until an object can be put, listed and deleted; returns `environment`.

        Raises:
            Invalid: If the folder cannot be written or the binary is missing.
            Unavailable: If it is not ready in 60 s; the message holds the end of its log.
        """
        self._given_up.clear()
        make_folder(self.folder)
        make_folder(self.folder / "data")
        end_leftovers(self._pids)
        weed.remove_sockets(self._remembered())
        weed.write_configuration(self.folder, self.credentials, self._webhook)
        _rotate(self.folder / "store.log")
        deadline = time.monotonic() + READY_SECONDS
        for attempt in range(1, STARTS + 1):
            self._launch(free_ports(weed.SERVERS, self._remembered() if attempt == 1 else None))
            try:
                self._wait_until_ready(deadline)
                break
            except Unavailable:
                port_lost = any(words in self._own_log() for words in weed.PORT_LOST)
                self._end()
                if not port_lost or attempt == STARTS:
                    raise
            except BaseException:
                self._end()
                raise
        return self.environment

    def restart(self) -> None:
        """Start the server again on the same ports after it died: clients keep their address."""
        if self._child is None:
            raise Unavailable("the store was not started")
        self._child.stop()
        weed.remove_sockets(self._ports)
        self._log_from = _size(self.folder / "store.log")
        self._child.start()
        self._wait_until_ready(time.monotonic() + READY_SECONDS)

    def stop(self) -> None:
        """Stop the server; nothing happens when it does not run."""
        self.give_up()
        self._end()

    def give_up(self) -> None:
        """Let a `start` or `restart` that waits in another thread raise Unavailable now."""
        self._given_up.set()

    def last_lines(self, lines: int = 12) -> list[str]:
        """The end of the server's log."""
        return self._child.last_lines(lines) if self._child else []

    def client(self) -> S3Client:
        """A boto3 client with this store's own keys, whatever the environment says; short timeouts, no retries."""
        # Made once: it takes a tenth of a second, and threads may share it.
        if self._client is None or self._client.meta.endpoint_url != self.endpoint:
            self._client = _connect(self.endpoint, self.credentials)
        return self._client

    def create_bucket(self, name: str) -> str:
        """Make the bucket unless it exists; returns its name."""
        client = self.client()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=name)
        return name

    def _launch(self, ports: dict[str, int]) -> None:
        self._ports = ports
        write_json(self.folder / PORTS, ports)
        self._log_from = _size(self.folder / "store.log")
        self._child = Child(
            "store",
            weed.command(weed.binary(), self.folder / "data", ports, self._buckets),
            pids=self._pids,
            log=self.folder / "store.log",
            cwd=self.folder,
            environ=weed.environ(self.folder, self.credentials),
        )
        self._child.start()

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop()
            weed.remove_sockets(self._ports)
            self._child = None

    def _remembered(self) -> dict[str, int]:
        """The ports of the last start: an address in a notebook stays right as long as it is free."""
        ports: dict[str, Any] = read_json(self.folder / PORTS) or {}
        return {name: port for name, port in ports.items() if isinstance(port, int)}

    def _locks_settled(self) -> bool:
        """
        Whether the filer knows by now who keeps which lock.

        It learns so half a second after it first answers. A conditional write that falls into that change may find
        its lock kept in two places, and have two winners.
        """
        return weed.LOCKS_SETTLED in self._own_log()

    def _own_log(self) -> bytes:
        """What the running server has written so far."""
        with (self.folder / "store.log").open("rb") as log:
            log.seek(self._log_from)
            return log.read()

    def _wait_until_ready(self, deadline: float) -> None:
        """An open port is not enough: a put, a listing and a delete of a probe must succeed, and locks be settled."""
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._child is not None
        client, last = self.client(), ""
        locks_by = time.monotonic() + LOCKS_SECONDS
        while time.monotonic() < deadline:
            if self._child.exit_code is not None:
                last = f"it ended with exit code {self._child.exit_code}"
                break
            try:
                for bucket in self._buckets:
                    self.create_bucket(bucket)
                bucket = self._buckets[0]
                client.put_object(Bucket=bucket, Key=PROBE, Body=b"ready")
                listed = client.list_objects_v2(Bucket=bucket, Prefix=PROBE)["KeyCount"]
                client.delete_object(Bucket=bucket, Key=PROBE)
                if listed == 1 and (self._locks_settled() or time.monotonic() > locks_by):
                    return
            except (BotoCoreError, ClientError) as error:
                last = str(error)
            if self._given_up.wait(0.05):
                last = "it was told to stop"
                break
        log = "\n".join(f"  {line[:200]}" for line in self._child.last_lines())
        raise Unavailable(
            f"the store in {self.folder} was not ready within {READY_SECONDS:.0f} s: {last}\nits last lines:\n{log}",
            f"`trimtab doctor` checks ports, disk and leftovers; the whole log is {self.folder / 'store.log'}",
        )


def _connect(endpoint: str, credentials: Credentials) -> S3Client:
    import boto3
    import botocore.session
    from botocore.config import Config

    # No profile and no file of the user's: a profile that does not exist would be an error.
    unset = (None, None, None, None)
    nowhere = (None, None, os.devnull, None)
    session = botocore.session.Session({"profile": unset, "config_file": nowhere, "credentials_file": nowhere})
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name=REGION,
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": "path"},
        ),
    )


def _rotate(log: Path) -> None:
    """The log of the starts before stands beside the new one; older ones go."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
