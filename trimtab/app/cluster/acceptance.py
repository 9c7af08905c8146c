"""
Whether a ContinuousModel may act: all of `trimtab check`, with the estimator checked where its code is.

The verdict stands in the state, so that a new process, or a lost status, checks nothing twice.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.api import Api, Object
from trimtab.adapters.kubernetes.conditions import Condition, Truth
from trimtab.adapters.kubernetes.kinds import JOB, POD
from trimtab.adapters.state import State
from trimtab.app.cluster import check_job
from trimtab.app.cluster.check_job import Passed, Refused, Verdict, Waits
from trimtab.app.cluster.resources import Key, key_of, model_of, resolved
from trimtab.core.errors import Invalid
from trimtab.core.ports import Buckets
from trimtab.core.records import Record
from trimtab.core.spec.in_cluster import refuse_in_cluster
from trimtab.core.spec.later import refuse_later
from trimtab.core.spec.model import ContinuousModel

ACCEPTED = "Accepted"
PENDING_SECONDS = 2.0  # between looks at a Job that checks
AGAIN_SECONDS = 60.0  # after a Job that gave no verdict, before the next
SCHEMA_SECONDS = 60.0  # between looks at a schema that stands apart from its spec


class Checked(Record):
    """`current/acceptance.json`: the verdict on the spec that was checked last, and the last spec that passed."""

    check: str  # digest of what was checked
    ok: bool
    message: str = ""
    code: str = ""  # digest of the user's own estimator module
    sklearn: str = ""
    spec: str = ""  # digest of the last spec that was accepted
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a spec came to.

    Attributes:
        text: The spec's text, its schema in place; empty where it cannot be read.
        model: None where it cannot be read.
        passed: None unless it is accepted.
        again_seconds: When to look again; None: when it changes.
    """

    condition: Condition
    text: str = ""
    model: ContinuousModel | None = None
    passed: Passed | None = None
    again_seconds: float | None = None


class Acceptance:
    """Judges specs; safe in many threads, for different models."""

    def __init__(self, api: Api, settings: ClusterSettings, buckets: Buckets) -> None:
        self._api = api
        self._settings = settings
        self._buckets = buckets
        self._known: dict[Key, tuple[tuple[str, int], Found]] = {}  # verdicts, by the object's uid and generation

    def look(self, resource: Object, state: State) -> Found:
        """
        Raises:
            Unavailable: If the store or the API server does not answer.
            Conflict: If another wrote first: call again.
        """
        key, meta = key_of(resource), resource["metadata"]
        edition = (meta["uid"], meta.get("generation", 0))
        known = self._known.get(key)
        if known is not None and known[0] == edition:
            return known[1]
        found = self._judge(resource, state)
        if found.again_seconds is None:
            self._known[key] = (edition, found)
        return found

    def _judge(self, resource: Object, state: State) -> Found:
        again = None
        try:
            model = model_of(resource)
            refuse_later(model)
            refuse_in_cluster(model, self._settings.kfp_pipeline_version)
            text, model = resolved(resource, lambda: self._buckets, self._settings)
            if model.spec.data.schema_ref is not None:
                again = SCHEMA_SECONDS
        except Invalid as error:
            return Found(_condition("False", "Invalid", str(error)), again_seconds=SCHEMA_SECONDS)
        image = model.spec.training.image or self._settings.pipeline_image
        if not image:
            return Found(
                _condition(
                    "Unknown",
                    "NoImage",
                    "found neither spec.training.image nor TRIMTAB_PIPELINE_IMAGE: there is no image to check the "
                    "estimator in\nhint: set TRIMTAB_PIPELINE_IMAGE for the controller",
                ),
                text,
                model,
            )
        verdict = self._verdict(resource, state, text, model, image)
        match verdict:
            case Passed():
                return Found(_condition("True", "Accepted", "the spec is sound"), text, model, verdict, again)
            case Refused(message=message):
                return Found(_condition("False", "Refused", message), text, model)
            case Waits(message=message, failed=failed):
                reason, pause = ("CheckFailed", AGAIN_SECONDS) if failed else ("Checking", PENDING_SECONDS)
                return Found(_condition("Unknown", reason, message), text, model, None, pause)

    def forget(self, key: Key) -> None:
        """There is no such model any more."""
        self._known.pop(key, None)

    def last(self, state: State) -> ContinuousModel | None:
        """
        The last spec that was accepted: what serves goes on by it while a changed one is not accepted.

        Raises:
            Unavailable: If the store does not answer.
        """
        from trimtab.core.spec.parse import load

        held = self._held(state)
        return load(state.data.spec(held.spec)) if held is not None and held.spec else None

    def _verdict(self, resource: Object, state: State, text: str, model: ContinuousModel, image: str) -> Verdict:
        checked = check_job.check_digest(model, image)
        held = self._held(state)
        verdict: Verdict
        if held is not None and held.check == checked:
            verdict = Passed(held.code, held.sklearn) if held.ok else Refused(held.message)
        else:
            verdict = self._job(resource, state, checked, image, text)
        if not isinstance(verdict, Waits):
            self._keep(state, held, checked, verdict, text)
        return verdict

    def _job(self, resource: Object, state: State, checked: str, image: str, text: str) -> Verdict:
        key = key_of(resource)
        namespace, name = key[0], check_job.job_name(key, checked)
        job = self._api.find(JOB, namespace, name)
        if job is None:
            address = state.uri(state.layout.spec(state.data.put_spec(text)))
            wanted = check_job.job(resource, checked, image, address, self._settings)
            job = self._api.create(JOB, wanted, namespace)
        pods, _ = self._api.list(POD, namespace, labels=f"batch.kubernetes.io/job-name={name}")
        verdict = check_job.verdict_of(job, pods, datetime.now(UTC))
        if isinstance(verdict, Waits) and verdict.failed:
            self._api.delete(JOB, namespace, name)  # the next look makes another
        return verdict

    def _held(self, state: State) -> Checked | None:
        key = state.layout.current("acceptance")
        stored = state.bucket.find(key)
        return Checked.from_json(stored.body, key) if stored else None

    def _keep(self, state: State, held: Checked | None, checked: str, verdict: Passed | Refused, text: str) -> None:
        """Write it down, unless it stands there already."""
        passed = isinstance(verdict, Passed)
        spec = sha256(text.encode()).hexdigest() if passed else held.spec if held else ""
        if held is not None and (held.check, held.spec) == (checked, spec):
            return
        if passed:
            spec = state.data.put_spec(text)
        wanted = Checked(
            check=checked,
            ok=passed,
            message=verdict.message if isinstance(verdict, Refused) else "",
            code=verdict.code if isinstance(verdict, Passed) else "",
            sklearn=verdict.sklearn if isinstance(verdict, Passed) else "",
            spec=spec,
            nonce=uuid.uuid4().hex,
        )
        key = state.layout.current("acceptance")
        stored = state.bucket.find(key)
        if stored is None:
            state.bucket.create(key, wanted.to_json())
        else:
            state.bucket.replace(key, wanted.to_json(), stored.etag)


def _condition(status: Truth, reason: str, message: str) -> Condition:
    return Condition(ACCEPTED, status, reason, message)
