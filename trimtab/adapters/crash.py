"""
Named places where a process can be told to die, so that recovery is tested at the very instruction that matters.

With `TRIMTAB_CRASH_AT=after-claim` and `TRIMTAB_CRASH_MARKS=FOLDER`, the first process that comes to that point sends
itself SIGKILL, once: the mark in the folder lets the next one pass. Without the variables a point costs a look-up.
"""

from __future__ import annotations

import os
import signal

from trimtab.adapters import environment

# In the order of a run. The first three are the app's, the others are in the steps.
POINTS = ("after-decision", "after-claim", "after-submit", "mid-fit", "after-artifact", "before-manifest")

# Of a run that is sent to KFP, between claim and submission.
KFP_POINTS = ("before-post", "after-post")

# In the order of a change of the traffic, and of its end.
ROLLOUT_POINTS = ("after-split", "before-confirmed", "before-promotion", "after-promotion")

# In a cluster besides: a rollout's custom resource was made, and a wish in it is taken in and stands there still.
CLUSTER_POINTS = (*ROLLOUT_POINTS, "after-object", "before-write-back")


def point(name: str) -> None:
    """Die here if this is the place, and nobody died here before."""
    names, marks = environment.crash_points()
    if marks is None or name not in names:
        return
    try:
        os.close(os.open(marks / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
