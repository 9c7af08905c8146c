"""
A controller that leads the rollouts of one model, as a process that can be killed: NAMESPACE MODEL BUCKET [AHEAD].

AHEAD is a file with the seconds by which its clock is ahead, so that durations pass without waiting.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trimtab.adapters import s3
from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import MODEL
from trimtab.adapters.state import State
from trimtab.app.cluster.resources import model_of
from trimtab.app.cluster.rollouts import ModelRollouts
from trimtab.core.errors import Fenced, TrimtabError

OWNER, LEASE_SECONDS = "trimtab-controller", 3600.0


def main(namespace: str, name: str, bucket: str, ahead: str) -> None:
    def wall() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(Path(ahead).read_text()))

    api, buckets = Api.connect(), s3.connect()
    settings = ClusterSettings(state_bucket=bucket, pod_name="controller-0", serving_image="trimtab/serving:1")
    rollouts = ModelRollouts(api, settings, buckets, wall=wall)
    state = State.open(buckets, f"s3://{bucket}/{namespace}", name)
    epoch = state.lease.acquire(OWNER, LEASE_SECONDS, succeed=True)
    while epoch is None:  # the one before was killed while it took it
        epoch = state.lease.acquire(OWNER, LEASE_SECONDS, succeed=True)
    while True:
        try:
            owner = next(each for each in api.list(MODEL, namespace)[0] if each["metadata"]["name"] == name)
            pause = rollouts.lead(namespace, model_of(owner), owner, epoch)
        except Fenced:
            return
        except TrimtabError as error:
            print(error, file=sys.stderr, flush=True)
            pause = 0.2
        time.sleep(min(pause, 0.2))


if __name__ == "__main__":
    main(*sys.argv[1:])
