"""
Runs that KFP calls unfinished for ever, because somebody deleted their Workflow: nothing reports those any more.

That no Workflow is found proves nothing by itself: KFP may stand in another cluster. So the first look that finds one
leaves a mark in the state, and only a run with that mark can be gone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trimtab.adapters.kfp_rest import Json
from trimtab.adapters.kfp_workflows import Workflows
from trimtab.adapters.state.layout import Layout
from trimtab.core.errors import Conflict, TrimtabError
from trimtab.core.ports import Bucket, Buckets
from trimtab.core.records import canonical
from trimtab.core.spec.units import split_s3

LOOK_SECONDS = 180.0  # between two looks, both of which find no Workflow before a run counts as gone


@dataclass
class Gone:
    """
    What this process has seen of unfinished runs' Workflows; safe in many threads.

    Args:
        buckets: Where the marks are, beside what else the state has of a run.
        clock: Seconds, for tests.
    """

    buckets: Buckets
    clock: Callable[[], float] = time.monotonic
    _looks: dict[str, tuple[float, bool]] = field(default_factory=dict)  # by run id: when, and whether it was gone

    def is_gone(self, run: Json, workflows: Workflows) -> bool:
        """
        Whether the Workflow of a run by KFP's record of it was there once, and was gone at two looks.

        Where Kubernetes or the store cannot be asked, it is not.
        """
        run_id, now = str(run["run_id"]), self.clock()
        at, before = self._looks.get(run_id, (float("-inf"), False))
        if now - at < LOOK_SECONDS:
            return False
        try:
            gone = self._look(run, workflows)
        except TrimtabError:
            gone = False
        recent = {each: look for each, look in self._looks.copy().items() if now - look[0] < 2 * LOOK_SECONDS}
        self._looks = {**recent, run_id: (now, gone)}
        return before and gone

    def _look(self, run: Json, workflows: Workflows) -> bool:
        place = _mark(run)
        if place is None:
            return False
        name, key = place
        bucket: Bucket = self.buckets.bucket(name)
        # Runs are sought where the settings say so now: a Workflow in another namespace is not gone.
        body = canonical({"namespace": workflows.namespace})
        if not workflows.of(str(run["run_id"])):
            mark = bucket.find(key)
            return mark is not None and mark.body == body
        with contextlib.suppress(Conflict):  # it is there already
            bucket.create(key, body)
        return False


def _mark(run: Json) -> tuple[str, str] | None:
    """Bucket and key of a run's mark, by what it was started with; None for a run that is not trimtab's."""
    given = (run.get("runtime_config") or {}).get("parameters") or {}
    if not {"state", "model", "run_key"} <= set(given):
        return None
    bucket, namespace = split_s3(given["state"])
    return bucket, Layout(namespace, given["model"]).step(given["run_key"], f"workflow-{run['run_id']}")
