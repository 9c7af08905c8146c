"""
`python -m trimtab.app.cluster.listener`: the door of a cluster, and intake, for all ContinuousModels.

Every replica answers; one of them takes in.
"""

from __future__ import annotations

import sys

from trimtab.app.cluster.catalog import NOTED, Listed
from trimtab.app.cluster.desks import ClusterDesk
from trimtab.app.cluster.intakes import Intakes, lease_of
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.process import Process, address, run, wait
from trimtab.app.cluster.resources import ARRIVED
from trimtab.app.cluster.waking import Waking
from trimtab.app.listener import Listener
from trimtab.app.notifications.sns import Sns
from trimtab.app.notifications.sqs import Queue

MANAGER = "trimtab-listener"  # field manager of what this process writes


def intakes_of(process: Process) -> Intakes:
    """What answers and takes in for all models of the cluster; not yet started."""
    settings, state = process.settings, process.states()
    arrived, noted = Waking(process.api, ARRIVED, MANAGER), Waking(process.api, NOTED, MANAGER)

    def desk(listed: Listed) -> ClusterDesk:
        return ClusterDesk(listed, state(listed.key), process.buckets, arrived, process.owner, settings.trusted_types)

    lease = lease_of(process.buckets.bucket(settings.state_bucket), "intake", settings.watch_namespaces)
    jobs = Jobs(process.api, settings)
    return Intakes(process.catalog(), desk, lease, process.owner, jobs, arrived, noted)


def work(process: Process) -> None:
    """
    Serve until the process is to end.

    Raises:
        Invalid: If a setting is missing or wrong.
        Unavailable: If the port is taken.
    """
    settings = process.settings
    token = process.token
    intakes = intakes_of(process)
    host, port = address(settings.bind)
    sns = Sns(settings.sns_topics) if settings.sns_topics else None
    door = Listener(intakes, token, host, port, sns)
    queue = Queue(settings.sqs_queue_url, intakes.note) if settings.sqs_queue_url else None
    door.start()
    intakes.catalog.start()
    intakes.start()
    if queue is not None:
        queue.start()
    wait(process.stopping)
    door.stop()
    if queue is not None:
        queue.stop()
    intakes.stop()
    intakes.catalog.stop()


if __name__ == "__main__":
    sys.exit(run(work))
