"""
Rollouts in real pods: the manifests' controller, Seldon's operator by its stand-in, real model servers, real users.

Users ask steadily through an Envoy that follows the VirtualService as Istio's would. What they get decides: nobody may
notice a pod that is killed but those whose request it was just answering.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kiln import CANARY, CRACKS_FROM, NAME, SHADOW, Kiln
from site_under_test import MILL, SYSTEM, Site
from traffic import WORKERS, Answered, Mesh, Users

from trimtab.adapters.kubernetes.kinds import ROLLOUT, SECRET

Body = dict[str, Any]
REQUESTS_A_SECOND = 25.0
SETTLE_SECONDS = 1.0  # requests that were under way while a split changed


@pytest.fixture(scope="module")
def kiln(site: Site) -> Kiln:
    """Applied, accepted, and its first version serves with two pods."""
    found = Kiln(site)
    found.apply(SHADOW)
    champion = found.register(CRACKS_FROM + 0.6, "champion")
    site.until(lambda: found.weights() == {f"v{champion}": 100}, "the first champion serves")
    replicas = [{"op": "replace", "path": "/spec/predictors/0/replicas", "value": 2}]
    found.kubectl("patch", "sdep", NAME, "--type=json", "-p", json.dumps(replicas))
    site.until(lambda: found.ready(champion, pods=2), "it has a second pod")
    return found


@pytest.fixture(scope="module")
def mesh(site: Site, kiln: Kiln, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    found = Mesh(site.kubeconfig, tmp_path_factory.mktemp("mesh") / "gateway", MILL)
    try:
        site.until(lambda: (found.check(), found.splits())[1], "the mesh follows the VirtualService", seconds=120)
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def users(site: Site, kiln: Kiln, mesh: Mesh) -> Iterator[Users]:
    token = base64.b64decode(site.api.get(SECRET, SYSTEM, "trimtab-token")["data"]["TRIMTAB_TOKEN"]).decode()
    found = Users(mesh.port, f"/seldon/{MILL}/{NAME}", REQUESTS_A_SECOND, kiln.labels_address(), token)
    yield found
    found.stop()


def test_a_challenger_is_promoted_under_traffic_while_pods_are_killed(
    site: Site, kiln: Kiln, mesh: Mesh, users: Users
) -> None:
    champion = kiln.champion()
    began = time.time()
    challenger = kiln.register(CRACKS_FROM, "challenger")
    old, new = f"v{champion}", f"v{challenger}"

    site.until(lambda: mesh.splits()[-1]["mirror"] == {new: 100}, f"{new} gets a copy of everything")
    site.until(lambda: kiln.weights() == {old: 80, new: 20}, f"{new} answers 20 %")
    pods = restarts(kiln.pods(challenger))
    assert len(pods) == 2  # as many as the champion has

    kiln.ask(challenger, paused=True)
    site.until(lambda: kiln.phase(challenger) == "Paused", "kubectl patch pauses it")
    site.kill(SYSTEM, "app.kubernetes.io/name=trimtab-controller")
    kiln.ask(challenger, paused=False)
    site.until(lambda: "waits for approval" in kiln.status(challenger).get("reason", ""), "another controller leads")
    assert kiln.weights() == {old: 80, new: 20}

    (lost,) = site.kill(MILL, f"seldon-deployment-id={NAME},version={old}", most=1)
    site.until(lambda: kiln.ready(champion, pods=2), f"{old} has its second pod again")
    kiln.ask(challenger, approved=True)
    site.until(lambda: kiln.weights() == {old: 50, new: 50}, f"{new} answers 50 %")

    site.kill(SYSTEM, "app.kubernetes.io/name=trimtab-store")
    kiln.kubectl("wait", "--for=condition=Promoted", f"mro/{NAME}-{new}", "--timeout=600s")
    site.say(f"{new} is promoted")
    site.until(lambda: kiln.weights() == {new: 100}, f"{new} answers everything")
    assert kiln.champion() == challenger
    assert "shown harmless" in kiln.status(challenger)["reason"]
    site.until(lambda: kiln.deployments() == [new], f"{old} is gone")

    splits = seen(mesh, began)
    site.say(f"splits: {splits}")
    assert [weights for _, weights in splits] == [{old: 100}, {old: 80, new: 20}, {old: 50, new: 50}, {new: 100}]
    shares_hold(users, splits)
    site.say(f"{len(users.answers(began))} requests, {users.labelled} labels, not answered: {users.failed(began)}")
    only_in_flight(users.failed(began), [each for each in mesh.requests() if float(each["at"]) > began], lost)
    assert restarts(kiln.pods(challenger)) == pods  # the promotion restarted none of them


def test_a_challenger_that_fails_is_rolled_back_and_the_champion_answers_everything(
    site: Site, kiln: Kiln, mesh: Mesh, users: Users
) -> None:
    kiln.apply(CANARY)
    champion = kiln.champion()
    began = time.time()
    challenger = kiln.register(CRACKS_FROM, "challenger", fails_unheated=True)
    old, new = f"v{champion}", f"v{challenger}"

    site.until(lambda: kiln.weights() == {old: 80, new: 20}, f"{new} answers 20 %")
    site.until(lambda: kiln.phase(challenger) == "RolledBack", f"{new} is rolled back")
    site.until(lambda: kiln.weights() == {old: 100}, f"{old} answers everything")
    site.until(lambda: list(kiln.predictors()) == [old] and kiln.deployments() == [old], f"{new} is gone")
    back = seen(mesh, began)[-1]
    site.until(lambda: len(users.answers(back[0] + SETTLE_SECONDS)) > 100, "users go on")

    reason = kiln.status(challenger)["reason"]
    site.say(f"{reason}; not answered: {len(users.failed(began))} of {len(users.answers(began))}")
    assert "failed requests" in reason
    assert "none of 0" not in reason  # by what the challenger answered, not by its silence
    assert kiln.champion() == champion
    assert [weights for _, weights in seen(mesh, began)] == [{old: 100}, {old: 80, new: 20}, {old: 100}]
    # Its own failures, and nobody else's; none once the traffic is back.
    failed = users.failed(began)
    assert failed
    assert {(each.code, each.version) for each in failed} == {(500, challenger)}
    assert all(each.heat == 0 for each in failed)
    after = users.answers(back[0] + SETTLE_SECONDS)
    assert {(each.code, each.version) for each in after} == {(200, champion)}


def test_a_challenger_that_fails_on_a_copy_of_the_traffic_answers_nobody(
    site: Site, kiln: Kiln, mesh: Mesh, users: Users
) -> None:
    kiln.apply(SHADOW)
    champion = kiln.champion()
    began = time.time()
    challenger = kiln.register(CRACKS_FROM, "challenger", fails_unheated=True)

    site.until(lambda: kiln.phase(challenger) == "RolledBack", f"v{challenger} is rolled back")
    site.until(lambda: not mesh.splits()[-1]["mirror"], "nothing is copied any more")

    site.say(kiln.status(challenger)["reason"])
    assert "failed mirrored requests" in kiln.status(challenger)["reason"]
    assert [weights for _, weights in seen(mesh, began)] == [{f"v{champion}": 100}]
    assert {(each.code, each.version) for each in users.answers(began)} == {(200, champion)}


def test_model_servers_show_what_the_dashboard_asks_for_where_they_are_scraped(site: Site) -> None:
    pods = site.pods(MILL, f"app.kubernetes.io/managed-by=seldon-core,trimtab.dev/model={NAME}")
    assert pods
    for pod in pods:
        place = f"/api/v1/namespaces/{MILL}/pods/{pod['metadata']['name']}:6000/proxy/prometheus"
        shown = site.kubectl("get", "--raw", place).stdout
        assert f'trimtab_process_cpu_seconds_total{{model="{NAME}"' in shown
        assert f'trimtab_process_resident_memory_bytes{{model="{NAME}"' in shown


def test_all_works_again_and_nobody_ended_who_was_not_killed(site: Site, kiln: Kiln) -> None:
    """Neither the store's outage nor the lost leader ends another process, and no trouble is left of them."""
    site.until(lambda: kiln.condition("Working") == "True", "store, launcher and serving answer")
    assert kiln.condition("Ready") == "True"
    site.until(site.all_ready, "everything is ready")
    pods = [pod for name in ("controller", "listener", "monitor") for pod in process(site, name)]
    assert list(restarts(pods).values()) == [0, 0, 0]
    # A pod that is deleted by force may still run when its successor opens the same files: that one waits by a restart.
    (store,) = process(site, "store")
    if sum(restarts([store]).values()):
        before = site.kubectl("logs", "-n", SYSTEM, store["metadata"]["name"], "--previous").stdout
        assert "resource temporarily unavailable" in before, before[-3000:]


def test_with_a_deleted_model_goes_what_serves_it_and_nobody_makes_it_again(
    site: Site, kiln: Kiln, users: Users
) -> None:
    users.stop()
    kiln.kubectl("delete", "ctm", NAME)
    # The pods take ten seconds to end: time enough for a controller to begin anew.
    site.until(lambda: not site.pods(MILL, f"seldon-deployment-id={NAME}"), "the last pod has ended")
    assert kiln.predictors() == {}
    assert kiln.deployments() == []
    site.until(lambda: not site.api.list(ROLLOUT, MILL)[0], "its rollouts are gone")


def process(site: Site, name: str) -> list[Body]:
    return site.pods(SYSTEM, f"app.kubernetes.io/name=trimtab-{name}")


def seen(mesh: Mesh, since: float) -> list[tuple[float, dict[str, int]]]:
    """The splits that users met: from when on, and weights by predictor; they always sum to 100."""
    found: list[tuple[float, dict[str, int]]] = []
    for split in mesh.splits():
        assert sum(split["weights"].values()) == 100, split
        weights = {name: weight for name, weight in split["weights"].items() if weight}
        if not found or found[-1][1] != weights:
            found.append((split["at"], weights))
    before = [each for each in found if each[0] <= since]
    return [*before[-1:], *(each for each in found if each[0] > since)]


def shares_hold(users: Users, splits: list[tuple[float, dict[str, int]]]) -> None:
    """What users got is what the weights say, by four standard errors."""
    ends = [at for at, _ in splits[1:]] + [math.inf]
    for (at, weights), end in zip(splits, ends, strict=True):
        answers = [each for each in users.answers(at + SETTLE_SECONDS) if each.at < end and each.version]
        for version in {each.version for each in answers}:
            assert f"v{version}" in weights
        for name, weight in weights.items():
            got, share = sum(f"v{each.version}" == name for each in answers), weight / 100
            spread = 4 * math.sqrt(len(answers) * share * (1 - share))
            assert abs(got - len(answers) * share) <= spread, (weights, name, got, len(answers))


def only_in_flight(failed: list[Answered], requests: list[Body], lost: Body) -> None:
    """Each was under way to the pod that was killed, and nobody can know whether it was answered."""
    told = [each for each in requests if each["code"] != http.client.OK]
    assert len(failed) == len(told) <= WORKERS, failed
    address = f"{lost['status']['podIP']}:8000"
    assert {each["host"] for each in told} <= {address}


def restarts(pods: list[Body]) -> dict[str, int]:
    """By the pods' uids: another pod is another one."""
    return {
        pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"]["containerStatuses"]) for pod in pods
    }
