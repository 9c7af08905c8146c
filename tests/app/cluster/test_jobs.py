"""Jobs in the image of a user's own code: one at a time, within the restricted level, and what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.kubernetes.kinds import JOB
from trimtab.app.cluster.catalog import Listed
from trimtab.app.cluster.jobs import Jobs, job_name, manifest
from trimtab.core.spec import load

SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: NAME}
spec:
  data:
    source: s3://landing/in/
    format: csv
    timestamp: ts
    target: count
    schema: {heat: {type: float}, count: {type: float}}
  training: {estimator: "mine:Ridge", image: "registry.example/mine@sha256:DIGEST"}
  evaluation: {primary: mean_absolute_error}
"""
SETTINGS = ClusterSettings("state", trusted_types=("mine.Ridge",), s3_secret="s3", model_service_account="models")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ADDRESS = "s3://state/shop/bikes/specs/1.yaml"


def listed(name: str = "bikes", text: str = "one") -> Listed:
    model = load(SPEC.replace("NAME", name).replace("DIGEST", "a" * 64))
    resource = {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ContinuousModel",
        "metadata": {"name": name, "namespace": "shop", "uid": "4f"},
    }
    return Listed(("shop", name), model, text, True, "", resource)


def end(api: Any, kind: str, at: datetime = NOW) -> None:
    """The Job ends as the Job controller says it."""
    (job,) = api.list(JOB, "shop")[0]
    moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": moment}
    api.put(JOB, job | {"status": {"conditions": [condition | {"message": "Job has reached the backoff limit"}]}})


def test_a_job_is_made_once_however_often_it_is_asked_for(api: Any) -> None:
    jobs = Jobs(api, SETTINGS)
    assert [jobs.ensure(listed(), "intake", ADDRESS) for _ in range(3)] == ["", "", ""]
    assert [verb for verb, *_ in api.writes] == ["create"]


def test_one_that_ended_well_gives_way_to_the_next(api: Any) -> None:
    jobs = Jobs(api, SETTINGS)
    jobs.ensure(listed(), "intake", ADDRESS)
    end(api, "Complete")
    assert jobs.ensure(listed(), "intake", ADDRESS, NOW) == ""
    assert jobs.ensure(listed(), "intake", ADDRESS, NOW) == ""
    assert [verb for verb, *_ in api.writes if verb != "put"] == ["create", "delete", "create"]


def test_one_that_failed_is_told_and_tried_again_after_a_while(api: Any) -> None:
    jobs = Jobs(api, SETTINGS)
    jobs.ensure(listed(), "monitor", ADDRESS)
    end(api, "Failed")
    said = jobs.ensure(listed(), "monitor", ADDRESS, NOW + timedelta(seconds=5))
    assert "backoff limit" in said
    assert "kubectl -n shop logs job/trimtab-monitor-bikes-" in said
    assert len(api.list(JOB, "shop")[0]) == 1
    jobs.ensure(listed(), "monitor", ADDRESS, NOW + timedelta(seconds=61))
    assert jobs.ensure(listed(), "monitor", ADDRESS, NOW + timedelta(seconds=62)) == ""
    assert [verb for verb, *_ in api.writes if verb != "put"] == ["create", "delete", "create"]


def test_another_spec_is_another_job_and_names_stay_within_a_label(api: Any) -> None:
    assert job_name(listed(), "intake") != job_name(listed(text="two"), "intake")
    assert job_name(listed(), "intake") != job_name(listed(), "monitor")
    assert max(len(job_name(listed("m" * 53), task)) for task in ("intake", "monitor")) <= 63


@pytest.mark.parametrize("task", ["intake", "monitor"])
def test_a_job_runs_under_the_model_s_own_account_and_can_do_nothing_but_its_work(task: Any) -> None:
    job = manifest(listed(), task, ADDRESS, SETTINGS)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["metadata"]["ownerReferences"][0]["uid"] == "4f"
    assert container["command"][-2:] == [task, ADDRESS]
    assert pod["serviceAccountName"] == "models"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["envFrom"] == [{"secretRef": {"name": "s3", "optional": True}}]
    environ = {each["name"]: each["value"] for each in container["env"]}
    assert environ["TRIMTAB_NAMESPACE"] == "shop"
    assert environ["TRIMTAB_TRUSTED_TYPES"] == "mine.Ridge"
    assert "requests" in container["resources"]
