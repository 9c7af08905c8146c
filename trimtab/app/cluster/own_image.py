"""
What a Job runs in the image that holds a user's own code: intake, or monitoring, of one model.

`python -m trimtab.app.cluster.own_image intake|monitor s3://BUCKET/KEY-OF-SPEC`. Everything it finds stands in the
store; the API server is not asked.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trimtab.adapters import environment, s3, specs
from trimtab.adapters.environment import Environment
from trimtab.adapters.state import State
from trimtab.app.clocks import WallClock
from trimtab.core.errors import TrimtabError
from trimtab.core.ports import Buckets
from trimtab.core.spec.model import ContinuousModel

MONITOR_SECONDS = 900.0  # that a Job goes on measuring; the monitor asks for the next one while there is reason to
MESSAGE = Path("/dev/termination-log")
MOST_BYTES = 4096  # of a termination message: Kubernetes cuts what is beyond


def main(task: str, address: str, message: Path = MESSAGE) -> int:
    """Returns 0 once all is done, 1 where trying again may help."""
    try:
        settings = environment.read()
        buckets = s3.connect()
        _, model = specs.fetch(address, lambda: buckets)
        state = State.open(buckets, settings.state, model.name)
        print(TASKS[task](state, buckets, model, settings))
    except TrimtabError as error:
        print(error, file=sys.stderr)
        message.write_bytes(error.message.encode()[:MOST_BYTES])
        return 1
    return 0


def intake(state: State, buckets: Buckets, model: ContinuousModel, settings: Environment) -> str:
    """Take in all that waits; returns what was done, for the log."""
    from trimtab.app.intake import Intake

    work = Intake(state, buckets, model, WallClock(), settings.trusted_types, settings.spec_folder)
    work.reconcile()
    taken = 0
    while work.take_next() is not None:
        taken += 1
    if work.problem:
        print(work.problem, file=sys.stderr)
    return f"{model.name}: {taken} uploads taken in"


def monitor(
    state: State,
    buckets: Buckets,
    model: ContinuousModel,
    settings: Environment,
    seconds: float = MONITOR_SECONDS,
) -> str:
    """Measure for so long; returns what was done, for the log."""
    from trimtab.app.cluster.model_monitor import ModelMonitor

    until, looks = time.monotonic() + seconds, 0
    work = ModelMonitor(state, buckets, model, settings.trusted_types, settings.spec_folder)
    while True:
        pause = work.look()
        looks += 1
        if time.monotonic() + pause > until:
            break
        time.sleep(pause)
    if work.problem:
        print(work.problem, file=sys.stderr)
    return f"{model.name}: looked {looks} times"


TASKS = {"intake": intake, "monitor": monitor}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
