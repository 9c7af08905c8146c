"""
`python -m trimtab.app.cluster.monitor`: measures what all ContinuousModels serve, and scores their rollouts.

It listens only for health and `/metrics`.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.intakes import lease_of
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.model_monitor import ModelMonitor, OwnImage
from trimtab.app.cluster.monitors import Monitors
from trimtab.app.cluster.process import Process, address, run, wait
from trimtab.app.cluster.resources import PREFIX
from trimtab.app.cluster.waking import Waking
from trimtab.app.events import Event
from trimtab.app.listener import Listener
from trimtab.core.errors import NotFound

MEASURED = f"{PREFIX}measured"  # annotation: something came out that decisions are made from
MANAGER = "trimtab-monitor"  # field manager of what this process writes


class Window:
    """The front of a process that takes nothing in."""

    def __init__(self, monitors: Monitors) -> None:
        self._monitors = monitors

    def note(self, events: list[Event]) -> int:
        _refuse()

    def desk(self, name: str, namespace: str = "") -> NoReturn:
        _refuse()

    def metrics_text(self) -> bytes:
        return self._monitors.metrics_text()

    def not_ready(self) -> str:
        return self._monitors.not_ready()


def monitors_of(process: Process) -> Monitors:
    """What measures all models of the cluster; not yet started."""
    settings, state = process.settings, process.states()
    jobs = Jobs(process.api, settings)

    def open_work(listed: Listed) -> ModelMonitor | OwnImage:
        if listed.image:
            return OwnImage(listed, state(listed.key), jobs)
        return ModelMonitor(state(listed.key), process.buckets, listed.model, settings.trusted_types)

    lease = lease_of(process.buckets.bucket(settings.state_bucket), "monitor", settings.watch_namespaces)
    measured = Waking(process.api, MEASURED, MANAGER)
    return Monitors(process.catalog(), open_work, lease, process.owner, measured)


def work(process: Process) -> None:
    """
    Measure until the process is to end.

    Raises:
        Invalid: If a setting is wrong.
        Unavailable: If the port is taken.
    """
    token = process.token
    monitors = monitors_of(process)
    host, port = address(process.settings.bind)
    door = Listener(Window(monitors), token, host, port)
    door.start()
    monitors.catalog.start()
    monitors.start()
    wait(process.stopping)
    door.stop()
    monitors.stop()
    monitors.catalog.stop()


def _refuse() -> NoReturn:
    raise NotFound("found a request to the monitor; events, labels and runs are for the listener")


if __name__ == "__main__":
    sys.exit(run(work))
