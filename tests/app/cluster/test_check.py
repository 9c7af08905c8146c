"""The check of an estimator, as a Job in the image of the user's code: its manifest, its program, its verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters import s3
from trimtab.adapters.environment import ClusterSettings
from trimtab.adapters.memory import MemoryBuckets
from trimtab.app.cluster import check
from trimtab.app.cluster.check_job import Passed, Refused, Waits, check_digest, job, job_name, verdict_of
from trimtab.core.spec import load

FLIGHTS = (Path(__file__).parents[3] / "examples" / "flights" / "model.yaml").read_text()
RESOURCE = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "ContinuousModel",
    "metadata": {"name": "flights", "namespace": "shop", "uid": "4f"},
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB: dict[str, Any] = {
    "metadata": {
        "name": "trimtab-check-flights-1",
        "namespace": "shop",
        "creationTimestamp": (NOW - timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    },
    "spec": {"template": {"spec": {"serviceAccountName": "trimtab-model"}}},
}


def pod(**state: Any) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": "1"}, "status": {"containerStatuses": [{"state": state}]}}


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the flights example stands in a store that the program connects to."""
    buckets = MemoryBuckets()
    buckets.bucket("state").put("flights.yaml", FLIGHTS.encode())
    buckets.bucket("state").put("wrong.yaml", FLIGHTS.replace("sklearn.ensemble", "sklearn.ensamble").encode())
    monkeypatch.setattr(s3, "connect", lambda: buckets)
    return "s3://state/flights.yaml"


def test_the_program_s_message_is_the_verdict_that_the_controller_reads(spec: str, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    assert check.main(spec, message) == 0
    ended = pod(terminated={"exitCode": 0, "message": message.read_text()})
    verdict = verdict_of(JOB, [ended], NOW)
    assert isinstance(verdict, Passed)
    assert verdict.code == ""
    assert verdict.sklearn.count(".") == 2


def test_a_refusal_has_the_words_of_trimtab_check(spec: str, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    assert check.main("s3://state/wrong.yaml", message) == 0
    verdict = verdict_of(JOB, [pod(terminated={"exitCode": 0, "message": message.read_text()})], NOW)
    assert isinstance(verdict, Refused)
    assert "has no module sklearn.ensamble" in verdict.message
    assert "hint: did you mean sklearn.ensemble" in verdict.message


def test_a_user_s_own_module_is_told_by_its_digest(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_trees.py").write_text(
        "from sklearn.ensemble import HistGradientBoostingClassifier\n\n\n"
        "class Trees(HistGradientBoostingClassifier):\n    pass\n"
    )
    text = FLIGHTS.replace("sklearn.ensemble:HistGradientBoostingClassifier", "own_trees:Trees")
    s3.connect().bucket("state").put("own.yaml", text.encode())
    monkeypatch.setenv("TRIMTAB_SPEC_FOLDER", str(tmp_path))
    message = tmp_path / "termination-log"
    assert check.main("s3://state/own.yaml", message) == 0
    assert len(json.loads(message.read_text())["code"]) == 64


def test_a_store_without_the_spec_is_no_verdict(spec: str, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    assert check.main("s3://state/nothing.yaml", message) == 1
    said = verdict_of(JOB, [pod(terminated={"exitCode": 1, "message": message.read_text()})], NOW)
    assert isinstance(said, Waits)
    assert "nothing.yaml" in said.message


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, "ErrImagePull: not found"),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "exit code 137: OOMKilled"),
        ({"waiting": {"reason": "ContainerCreating"}}, "checks the estimator"),
        ({"terminated": {"exitCode": 0, "message": "not json"}}, "exit code 0: not json"),
    ],
)
def test_what_keeps_a_check_from_its_verdict_is_said(state: dict[str, Any], words: str) -> None:
    said = verdict_of(JOB, [pod(**state)], NOW)
    assert isinstance(said, Waits)
    assert not said.failed
    assert words in said.message


def test_a_job_for_which_no_pod_is_made_says_so_with_the_next_move() -> None:
    said = verdict_of(JOB, [], NOW)
    assert isinstance(said, Waits)
    assert not said.failed
    first, hint = said.message.split("\n")
    assert "no pod was made for it" in first
    assert "kubectl -n shop describe job trimtab-check-flights-1" in first
    assert "trimtab-model is missing: kubectl apply -n shop -k manifests/model-namespace" in hint
    assert "no pod" not in str(verdict_of(JOB, [], NOW - timedelta(seconds=10)))


def test_a_job_that_failed_for_good_will_give_none() -> None:
    over = JOB | {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "deadline"}]}}
    said = verdict_of(over, [], NOW)
    assert isinstance(said, Waits)
    assert said.failed
    assert "deadline" in said.message


def test_a_verdict_counts_although_another_pod_of_the_job_died() -> None:
    died = pod(terminated={"exitCode": 137, "reason": "OOMKilled"})
    told = pod(terminated={"exitCode": 0, "message": '{"ok": true, "code": "", "sklearn": "1.9.1"}'})
    assert verdict_of(JOB, [died, told], NOW) == Passed("", "1.9.1")


def test_only_what_a_verdict_depends_on_is_checked_again() -> None:
    model = load(FLIGHTS)
    triggers = load(FLIGHTS.replace("settle: 30s", "settle: 45s"))
    other = load(FLIGHTS.replace("HistGradientBoostingClassifier", "RandomForestClassifier"))
    assert check_digest(model, "a") == check_digest(triggers, "a")
    assert len({check_digest(model, "a"), check_digest(model, "b"), check_digest(other, "a")}) == 3


def test_the_job_is_restricted_and_belongs_to_the_model() -> None:
    made = job(RESOURCE, "d1", "registry/own@sha256:1", "s3://state/spec.yaml", ClusterSettings("state"))
    pod_spec = made["spec"]["template"]["spec"]
    container = pod_spec["containers"][0]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "4f"
    assert pod_spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod_spec["serviceAccountName"] == "trimtab-model"


def test_the_job_s_name_fits_a_label_and_tells_long_models_apart() -> None:
    names = {job_name(("shop", "a" * 52 + end), "d") for end in "bc"}
    assert len(names) == 2
    assert max(map(len, names)) <= 63
