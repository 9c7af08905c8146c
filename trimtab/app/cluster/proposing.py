"""
Proposing a regression's rollout in a process of its own: `python -m trimtab.app.cluster.proposing`.

The loss is measured on the scale of the rows that the challenger learned. Reading them takes a library that would
stay in the controller's memory for good.
"""

from __future__ import annotations

import json
import subprocess
import sys

from trimtab.adapters import s3
from trimtab.adapters.proposals import propose
from trimtab.adapters.state import State
from trimtab.core.errors import NotFound, TrimtabError, Unavailable
from trimtab.core.records import ModelVersion
from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec import load
from trimtab.core.spec.dump import dump
from trimtab.core.spec.model import ContinuousModel

SECONDS = 300.0  # reading the target's column of some million rows takes seconds


def in_a_child(state: State, model: ContinuousModel, version: ModelVersion, champion: int, cause: str) -> RolloutSpec:
    """
    The rollout of `version` beside `champion`, as `propose`.

    Raises:
        NotFound: If the rows that the version learned are gone.
        Unavailable: If the process did not come to its end.
    """
    asked = {"address": state.address, "version": version.number, "champion": champion, "cause": cause}
    words = json.dumps(asked | {"spec": dump(model), "model": state.model})
    command = [sys.executable, "-m", "trimtab.app.cluster.proposing"]
    try:
        done = subprocess.run(command, input=words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the rollout of v{version.number} could not be proposed: {error}") from error
    if done.returncode == NotFound.exit_code:
        raise NotFound(done.stderr.strip())
    if done.returncode != 0:
        said = done.stderr.strip()[-500:]
        raise Unavailable(f"the rollout of v{version.number} could not be proposed: {said or done.returncode}")
    return RolloutSpec.from_json(done.stdout.encode(), "the proposed rollout")


def main() -> int:
    asked = json.load(sys.stdin)
    try:
        state = State.open(s3.connect(), asked["address"], asked["model"])
        version = state.registry.version(asked["version"])
        spec = propose(state, load(asked["spec"]), version, asked["champion"], asked["cause"])
    except TrimtabError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    print(spec.to_json().decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
