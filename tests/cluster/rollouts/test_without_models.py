"""Rollouts on a SeldonDeployment that a person applied, and the plugin's verbs, on the real API server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from trimtab.adapters.kubernetes.kinds import ROLLOUT, SELDON_DEPLOYMENT
from trimtab.adapters.kubernetes.predictor import FreePredictors
from trimtab.adapters.kubernetes.seldon_traffic import SeldonTraffic
from trimtab.app.cluster.free_request import CHALLENGER, names_of
from trimtab.core.ports import Answer

Canary = Any
Kubectl = Callable[..., str]
PREDICTOR = """
    name: NAME
    graph: {name: classifier, type: MODEL}
    componentSpecs: [{spec: {containers: [{name: classifier, image: "example/IMAGE:1"}]}}]
"""
DEPLOYMENT = f"""
apiVersion: machinelearning.seldon.io/v1
kind: SeldonDeployment
metadata: {{name: web}}
spec:
  predictors:
  - {PREDICTOR.replace("NAME", "blue").replace("IMAGE", "blue").strip()}
"""
TAKE_OVER = """
apiVersion: trimtab.dev/v1alpha1
kind: ModelRollout
metadata: {name: take-over}
spec:
  steps: [{setWeight: 10, minRequests: 20}, {pause: {}}]
  keepPrevious: 10m
  target:
    seldonDeployment: web
    champion: blue
    challenger:
      predictor:
        name: green
        graph: {name: classifier, type: MODEL}
        componentSpecs: [{spec: {containers: [{name: classifier, image: "example/green:1"}]}}]
"""


class Web:
    """SeldonDeployment `web` and rollout `take-over`; what was answered is counted as Prometheus would."""

    def __init__(self, canary: Canary, counted: Any, kubectl: Kubectl) -> None:
        self._canary = canary
        self._counted = counted
        kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
        canary.until(lambda: canary.answering("web") == {"blue": 100}, "blue", look=lambda: None)
        canary.start(free_split=self._split)
        kubectl("apply", "-f", "-", stdin=TAKE_OVER)
        self.last = canary.rollout("take-over")

    def _split(self, rollout: dict[str, Any]) -> SeldonTraffic:
        predictors = FreePredictors(names_of(rollout), CHALLENGER, rollout["spec"]["target"]["challenger"]["predictor"])
        return SeldonTraffic(self._canary.leads, rollout["metadata"]["namespace"], "web", predictors, self._counted)

    def look(self) -> None:
        self.pause = self._canary.rollouts.lead_free(self.last)

    def until(self, found: Callable[[], Any], what: str) -> None:
        self._canary.until(found, what, look=self.look)

    def send(self, requests: int) -> None:
        self._canary.offset += timedelta(seconds=3)
        at = self._canary.now().timestamp()
        self._counted.add(*(Answer(at + n * 0.01, 1 if n % 10 else 2, False, 0.005) for n in range(requests)))
        self._canary.offset += timedelta(seconds=requests * 0.01 + 1)


@pytest.fixture
def web(canary: Canary, Counted: Any, kubectl: Kubectl) -> Web:  # noqa: N803  (a class)
    return Web(canary, Counted(), kubectl)


@pytest.fixture
def plugin(cluster: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`kubectl trimtab`, as a process."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))

    def run(*words: str) -> str:
        program = "from trimtab.app.kubectl import main; main()"
        command = [sys.executable, "-c", program, *words, "-n", namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_from_apply_to_promoted_approved_with_the_plugin(web: Web, canary: Canary, plugin: Callable[..., str]) -> None:
    web.until(lambda: canary.answering("web") == {"blue": 90, "green": 10}, "10 %")
    web.until(lambda: canary.status("take-over").get("weightPercent") == 10, "the status")
    web.until(lambda: "0 of 20 requests" in canary.status("take-over").get("reason", ""), "the router's word on it")
    web.send(400)
    web.until(lambda: "waits for approval" in canary.status("take-over")["reason"], "the pause step")
    assert "kubectl trimtab approve take-over" in plugin("status", "take-over")
    user = canary.api.whoami()
    assert plugin("approve", "take-over") == f"take-over approved by {user}\n"
    web.until(lambda: canary.phase("take-over") == "Promoted", "the promotion")

    assert canary.answering("web") == {"green": 100}
    assert f"approve by {user}" in [
        event["note"] for event in events(canary) if event["regarding"]["name"] == "take-over"
    ]
    canary.offset += timedelta(minutes=11)
    web.until(lambda: canary.predictors("web") == ["green"], "blue's end")
    web.until(lambda: web.pause > 60, "the end")
    annotations = canary.api.get(SELDON_DEPLOYMENT, canary.namespace, "web")["metadata"]["annotations"]
    assert "trimtab.dev/rollout" not in annotations


def test_deleted_in_mid_rollout_its_challenger_goes(web: Web, canary: Canary) -> None:
    web.until(lambda: canary.answering("web") == {"blue": 90, "green": 10}, "10 %")
    canary.api.delete(ROLLOUT, canary.namespace, "take-over")
    web.until(lambda: canary.answering("web") == {"blue": 100}, "blue alone")
    web.until(lambda: canary.predictors("web") == ["blue"] and web.pause == 0, "green's end")


def test_deleted_while_nobody_led_it_is_found_and_ended(web: Web, canary: Canary) -> None:
    web.until(lambda: canary.answering("web") == {"blue": 90, "green": 10}, "10 %")
    canary.api.delete(ROLLOUT, canary.namespace, "take-over")
    canary.start(free_split=web._split)
    (web.last,) = [each for each in canary.rollouts.orphans() if each["metadata"]["namespace"] == canary.namespace]
    web.until(lambda: canary.predictors("web") == ["blue"] and web.pause == 0, "green's end")


def test_deleted_and_applied_again_at_once_it_begins_anew(web: Web, canary: Canary, kubectl: Kubectl) -> None:
    def images() -> list[str]:
        predictors = canary.api.get(SELDON_DEPLOYMENT, canary.namespace, "web")["spec"]["predictors"]
        return [each["componentSpecs"][0]["spec"]["containers"][0]["image"] for each in predictors]

    web.until(lambda: "0 of 20 requests" in canary.status("take-over").get("reason", ""), "the router's word on 10 %")
    web.send(400)
    web.until(lambda: "waits for approval" in canary.status("take-over")["reason"], "the pause step")
    canary.api.delete(ROLLOUT, canary.namespace, "take-over")
    kubectl("apply", "-f", "-", stdin=TAKE_OVER.replace("green:1", "green:2"))
    before, web.last = web.last, canary.rollout("take-over")

    def both() -> None:
        canary.rollouts.gone_free(before)
        web.look()

    def until(found: Callable[[], bool], what: str) -> None:
        canary.until(found, what, look=both)

    until(lambda: canary.predictors("web") == ["blue"], "the end of the one before")
    until(lambda: images() == ["example/blue:1", "example/green:2"], "the other challenger")
    until(lambda: canary.answering("web") == {"blue": 90, "green": 10}, "10 % again")
    until(lambda: "0 of 20 requests" in canary.status("take-over").get("reason", ""), "no request of before counts")


def test_pause_resume_and_rollback_with_the_plugin(canary: Canary, plugin: Callable[..., str]) -> None:
    canary.until(lambda: canary.answering() == {"v1": 90, "v2": 10}, "10 %")
    plugin("pause", "flights")
    canary.until(lambda: canary.phase() == "Paused", "the pause")
    assert canary.status()["reason"] == f"pause by {canary.api.whoami()}"
    plugin("resume", "flights")
    plugin("promote", "flights")
    canary.until(lambda: canary.phase() == "Promoted", "the promotion")
    plugin("rollback", "flights")
    canary.until(lambda: canary.answering() == {"v1": 100}, "the way back")
    assert canary.champion() == 1


def test_what_the_controller_makes_is_what_people_could_have_written(canary: Canary, kubectl: Kubectl) -> None:
    canary.until(lambda: canary.rollout() is not None, "the ModelRollout")
    made = yaml.safe_load(kubectl("get", "mro", "flights-v2", "-o", "yaml"))
    copy = {key: made[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "copy"}}
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(copy))
    assert "v1" in kubectl("get", "mro", "flights-v2")


def events(canary: Canary) -> list[dict[str, Any]]:
    from trimtab.adapters.kubernetes.kinds import EVENT

    found: list[dict[str, Any]] = canary.api.list(EVENT, canary.namespace)[0]
    return found
