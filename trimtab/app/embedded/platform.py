"""
Everything `trimtab up` does, without the terminal: `up`, the demo and tests share it.

Order matters: the spec is checked before anything starts, the folder is locked before leftovers are ended, the store
runs before the traffic, whose variants load from it, and both before the loop, which works on them. Stopping goes the
other way round, so that variants put their prediction logs into a store that still runs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trimtab.adapters import environment as environments
from trimtab.adapters.environment import Environment
from trimtab.app import settings
from trimtab.app.embedded import weed
from trimtab.app.embedded.credentials import load_or_make
from trimtab.app.embedded.files import read_json, require_space, write_json, write_private
from trimtab.app.embedded.gateway import Gateway, hold_port
from trimtab.app.embedded.lock import FolderLock, refuse_second
from trimtab.app.embedded.ports import LOOPBACK, free_ports, is_free
from trimtab.app.embedded.processes import end_leftovers
from trimtab.app.embedded.proof import PROOF, prove_once
from trimtab.app.embedded.store import Store
from trimtab.app.embedded.supervisor import Supervisor
from trimtab.app.embedded.traffic import EmbeddedTraffic
from trimtab.app.embedded.variants import Variants, environ
from trimtab.core.errors import Invalid, TrimtabError
from trimtab.core.records import digest

if TYPE_CHECKING:
    from trimtab.adapters.kfp import LocalLauncher
    from trimtab.adapters.s3 import S3Buckets
    from trimtab.app.loop import Loop
    from trimtab.core.spec.model import ContinuousModel

STATE_BUCKET = "trimtab-state"
NAMESPACE = "default"
LISTING_SECONDS = 5.0
EVENTS_PATH = "/v1/events"
PORTS = "ports.json"
MODEL_SERVER = "trimtab.adapters.seldon.server"


class Platform:
    """
    Store, gateway, listener, loop and training runs for one model, in one folder.

    Args:
        folder: `.trimtab` is made in it.
        spec: The model's YAML file.
        port: Of the listener; by default the one of the last start while it is free, else a free one.
        policy_clock: `wall`, or `stream` for a replay (see DESIGN: the policy clock).
        listing_seconds: How often the source is listed, which finds what no event told of.
        settle_seconds: In place of the spec's `triggers.upload.settle`.
        webhook: False leaves the store without its webhook: uploads are then found by listing alone.
        serving: False starts neither gateway nor variants. True needs a serving environment; None takes it where there
            is one, and else starts a gateway that says what is missing.
        tell: Is told in one line of what happens to the platform itself, from any thread.

    While it runs, `os.environ` holds what boto3 and the runs need; `stop` puts back what was there.
    """

    def __init__(
        self,
        folder: Path,
        spec: Path,
        *,
        port: int | None = None,
        policy_clock: str = "wall",
        listing_seconds: float = LISTING_SECONDS,
        settle_seconds: float | None = None,
        webhook: bool = True,
        serving: bool | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder.resolve() / settings.FOLDER
        self._spec = spec
        self._asked_port = port
        self._policy_clock = policy_clock
        self._listing_seconds = listing_seconds
        self._settle_seconds = settle_seconds
        self._with_webhook = webhook
        self._serving = serving
        self._tell = tell
        self._stack = ExitStack()
        self._lock: FolderLock
        self._looping: ExitStack  # what `reload` ends
        self._digest = ""  # of the text that the loop works by
        self._reloads = 0
        self.model: ContinuousModel
        self.environment: Environment
        self.variables: dict[str, str] = {}  # of `.trimtab/env`
        self.store: Store
        self.supervisor: Supervisor
        self.traffic: EmbeddedTraffic | None = None
        self.buckets: S3Buckets
        self.launcher: LocalLauncher
        self.loop: Loop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """
        Start everything, or nothing.

        Raises:
            Invalid: If the spec, the folder or the port will not do, or a platform runs here already.
            Unavailable: If the disk is full or the store does not get ready.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what runs, in the opposite order; nothing happens when nothing does."""
        self._stack.close()

    def _start(self) -> None:
        refuse_second(self.folder)  # before the spec, which takes a second to check
        self._tell(f"checking {self._spec}")
        text = self._check_spec()
        self._lock = self._stack.enter_context(FolderLock(self.folder))
        require_space(self.folder)
        for entry in end_leftovers(self.folder / "pids"):
            self._tell(f"ended process {entry.pid} ({entry.name}), which a former platform left running")
        with self._hold_port() as held:
            port = held.getsockname()[1]
            # For as long as the platform runs: its Envoys come and go.
            gateway_port = self._stack.enter_context(hold_port(self.folder / PORTS)) if self._serves else None
            self._start_store(port)
        self._settle_environment(port, gateway_port.getsockname()[1] if gateway_port else None)
        if gateway_port is not None:
            self._start_traffic(gateway_port.getsockname()[1])
        self._looping = self._stack.enter_context(ExitStack())
        self._run(self._make_loop(text, port))
        write_private(self.folder / settings.FILE, settings.render(self.variables))
        self._digest = digest(text)
        self._tell_lock()

    def reload(self) -> None:
        """
        Take up the spec's file as it is now. Store, gateway and model servers run on, so that nobody who asks for a
        prediction notices; a run that goes on is ended, and tried again.

        Raises:
            Invalid: If the file will not do, or names another model or bucket: the platform goes on with the former.
            Unavailable: If the store does not answer, likewise.
        """
        former = self.model
        try:
            text = self._check_spec()
            self._require_same(former)
            # Whatever it may be refused for, it is refused for before the former loop ends.
            loop = self._make_loop(text, self.loop.port)
        except TrimtabError as error:
            self.model = former
            self._reloads += 1
            self._tell_lock(str(error))
            raise
        self._looping.close()
        self._run(loop)
        self._reloads, self._digest = self._reloads + 1, digest(text)
        self._tell_lock()

    def _require_same(self, former: ContinuousModel) -> None:
        name, bucket = self.model.name, self.model.spec.data.bucket
        if (name, bucket) != (former.name, former.spec.data.bucket):
            raise Invalid(
                f"{self._spec} is of {name}, with uploads to the bucket {bucket}; the platform runs for {former.name} "
                f"and {former.spec.data.bucket}",
                "trimtab down, then trimtab up",
            )

    def _tell_lock(self, refused: str = "") -> None:
        """Write down where the platform answers, which spec it works by, and what the last reload was refused for."""
        self._lock.tell(
            model=self.model.name,
            url=self.environment.url,
            endpoint=self.store.endpoint,
            spec=str(self._spec.resolve()),
            spec_digest=self._digest,
            reloads=self._reloads,
            refused=refused,
        )

    def _check_spec(self) -> str:
        from trimtab.adapters import estimators, specs
        from trimtab.adapters.seldon.check import interpreter
        from trimtab.core.spec import load
        from trimtab.core.spec.later import refuse_later

        text = specs.read_file(str(self._spec))
        self.model = load(text, str(self._spec))
        refuse_later(self.model)
        interpreter(self.model)
        if self.model.spec.data.bucket == STATE_BUCKET:
            raise Invalid(
                f"spec.data.source is in the bucket {STATE_BUCKET}, which holds trimtab's own state",
                "take another bucket for uploads, e.g. s3://landing/",
            )
        if self.model.spec.data.schema_ref is None:
            estimators.check(self.model, self._spec_folder)
        return text

    @property
    def _serves(self) -> bool:
        if self._serving and environments.serving_python() is None:
            raise Invalid(
                "found no serving environment, and this platform is to serve",
                "`make .venv-serving/serving.done` makes it; TRIMTAB_SERVING_PYTHON names another one's interpreter",
            )
        return self._serving is not False

    @property
    def _spec_folder(self) -> str:
        return str(self._spec.resolve().parent)

    def _hold_port(self) -> socket.socket:
        """The listener's port, bound so that the store does not take it, until the listener does."""
        file = self.folder / PORTS
        port = self._asked_port
        if port is None:
            port = free_ports(["listener"], read_json(file))["listener"]
        elif not is_free(port):
            raise Invalid(f"port {port} on {LOOPBACK} is taken", "choose another, or leave --port out for a free one")
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # As the listener does it: after a kill, connections of the former one linger for a minute.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((LOOPBACK, port))
        except OSError as error:
            held.close()
            raise Invalid(f"port {port} on {LOOPBACK}: {error.strerror}", "choose another port") from error
        write_json(file, {**(read_json(file) or {}), "listener": port})
        return held

    def _start_store(self, port: int) -> None:
        credentials = load_or_make(self.folder)
        landing = self.model.spec.data.bucket
        hook = weed.Webhook(f"http://{LOOPBACK}:{port}{EVENTS_PATH}", credentials.token, landing)
        self.store = Store(
            self.folder / "store",
            webhook=hook if self._with_webhook else None,
            buckets=(STATE_BUCKET, landing),
            pids=self.folder / "pids",
            credentials=credentials,
        )
        self._stack.callback(self.store.stop)
        self._tell("starting the store")
        self.store.start()
        self.supervisor = Supervisor(self.store, self._tell, self._has_trouble)
        self._stack.callback(self.supervisor.stop)
        self.supervisor.start()

    def _has_trouble(self) -> bool:
        """Whether the loop's problem is an answer of the store; asked by the supervisor, before there is a loop too."""
        problems = self.loop.snapshot().problems if hasattr(self, "loop") else ()
        return any(f"{self.store.endpoint} answers 5" in problem for problem in problems)

    def _settle_environment(self, port: int, gateway_port: int | None) -> None:
        self.variables = {
            **self.store.environment,
            "TRIMTAB_STATE_BUCKET": STATE_BUCKET,
            "TRIMTAB_NAMESPACE": NAMESPACE,
            "TRIMTAB_URL": f"http://{LOOPBACK}:{port}",
            "TRIMTAB_TOKEN": self.store.credentials.token,
            "TRIMTAB_SPEC_FOLDER": self._spec_folder,
            "TRIMTAB_POLICY_CLOCK": self._policy_clock,
        }
        if gateway_port is not None:
            self.variables["TRIMTAB_GATEWAY_URL"] = f"http://{LOOPBACK}:{gateway_port}"
            self.variables["TRIMTAB_GATEWAY_TOKEN"] = self.store.credentials.gateway_token
        touched = (*self.variables, *settings.FOREIGN, *settings.NO_PROXY)
        self._stack.callback(_put_back, {name: os.environ.get(name) for name in touched})
        settings.apply(self.variables)
        self.environment = environments.read()

    def _start_traffic(self, port: int) -> None:
        pids = self.folder / "pids"
        gateway = Gateway(self.folder / "gateway", port, self.environment.gateway_token, pids=pids, tell=self._tell)
        python = environments.serving_python()
        variants = None
        if python is not None:
            variants = Variants(
                [str(python), "-P", "-m", MODEL_SERVER],
                environ(self.variables, self.model.name, self.folder / "predictions"),
                folder=self.folder / "serving",
                pids=pids,
                tell=self._tell,
            )
        self._tell("starting the gateway")
        self.traffic = EmbeddedTraffic(self.model.name, gateway, variants, self._tell)
        self._stack.callback(self.traffic.stop)
        self.traffic.start()

    def _make_loop(self, text: str, port: int) -> Loop:
        """A loop for `self.model`; nothing of it runs yet."""
        from trimtab.adapters import estimators, s3, specs
        from trimtab.adapters.kfp import LocalLauncher
        from trimtab.app.clocks import clock_of
        from trimtab.app.loop import Loop

        self.buckets = s3.connect()
        prove_once(self.buckets.bucket(STATE_BUCKET), self.folder / PROOF)
        if self.model.spec.data.schema_ref is not None:
            text, self.model = specs.read(text, s3.connect, str(self._spec))
            estimators.check(self.model, self._spec_folder)
        if self._settle_seconds is not None:
            self.model = with_settle(self.model, self._settle_seconds)
        self.launcher = LocalLauncher(self.folder / "runs", self.environment.pipeline, self.variables)
        return Loop(
            model=self.model,
            spec_text=text,
            environment=self.environment,
            buckets=self.buckets,
            launcher=self.launcher,
            clock=clock_of(self.environment),
            host=LOOPBACK,
            port=port,
            listing_seconds=self._listing_seconds,
            # The folder's lock lets nobody else run under this name, so a killed platform's lease need not run out.
            owner=f"up-{digest(str(self.folder))[:12]}",
            tell=self._tell,
            traffic=self.traffic,
            load_addresses=self.traffic.load_addresses if self.traffic is not None else dict,
        )

    def _run(self, loop: Loop) -> None:
        """Start it, and end it with what `reload` ends."""
        self._tell("starting the loop")
        for run in self.launcher.leftovers():
            self._tell(f"ending run {run}, which a former platform left")
            self.launcher.stop(run)
        self._looping.callback(self._stop_runs)
        self.loop = loop
        self._looping.callback(loop.stop)
        loop.start()

    def _stop_runs(self) -> None:
        for run in self.launcher.leftovers():
            self.launcher.stop(run)


def with_settle(model: ContinuousModel, seconds: float) -> ContinuousModel:
    """The model with another `triggers.upload.settle`; the training digest does not see it."""
    triggers = model.spec.triggers
    if triggers.upload is None:
        return model
    upload = triggers.upload.model_copy(update={"settle": timedelta(seconds=seconds)})
    spec = model.spec.model_copy(update={"triggers": triggers.model_copy(update={"upload": upload})})
    return model.model_copy(update={"spec": spec})


def _put_back(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
