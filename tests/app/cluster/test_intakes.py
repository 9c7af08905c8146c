"""The cluster's listener: real requests and files of many models, the API server and the store in memory."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from bikes import day_file, spec

from trimtab.adapters.environment import ClusterSettings, Environment
from trimtab.adapters.kubernetes.kinds import JOB, MODEL
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.state import State
from trimtab.app.cluster import own_image
from trimtab.app.cluster.arrivals import slim
from trimtab.app.cluster.catalog import NOTED, Catalog, Listed
from trimtab.app.cluster.desks import ClusterDesk
from trimtab.app.cluster.intakes import Intakes, lease_of
from trimtab.app.cluster.jobs import Jobs
from trimtab.app.cluster.resources import ARRIVED, model_of
from trimtab.app.cluster.waking import Waking
from trimtab.app.listener import Listener
from trimtab.core.sources import parse
from trimtab.core.spec.document import read

SETTINGS = ClusterSettings("state", trusted_types=("mine.Scaler",))
TOKEN = "s3cret"
Key = tuple[str, str]


def until(look: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
    return found


class Replica:
    """One listener process: its door, its intake; its watch is the test's."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        api, buckets = cluster.api, cluster.buckets
        arrived, noted = Waking(api, ARRIVED, "listener"), Waking(api, NOTED, "listener")
        self.catalog = Catalog(api, cluster.settings, lambda: buckets)
        states: dict[Key, State] = {}

        def desk(listed: Listed) -> ClusterDesk:
            state = states.setdefault(listed.key, cluster.state(listed.key, cluster.cache / name))
            state.ledger.cut = slim
            return ClusterDesk(listed, state, buckets, arrived, name, listing_seconds=cluster.listing_seconds)

        lease = lease_of(buckets.bucket("state"), "intake", ())
        self.intakes = Intakes(self.catalog, desk, lease, name, Jobs(api, SETTINGS), arrived, noted)
        self.door = Listener(self.intakes, TOKEN)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.door.start()}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=30,
        )

    def start(self) -> Replica:
        self.catalog.look()
        self.intakes.start()
        return self

    def settle(self) -> Replica:
        """Wait until it takes in, and has listed every source: what comes now is told by events alone."""
        until(lambda: self.intakes.acts and all(desk.listed_once for desk in self.intakes.desks().values()))
        return self

    def stop(self) -> None:
        self.client.close()
        self.door.stop()
        self.intakes.stop()

    def tell(self, *places: tuple[str, str]) -> httpx.Response:
        """An event of each (bucket, key)."""
        records = [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
            for bucket, key in places
        ]
        return self.client.post("/v1/events", content=json.dumps({"Records": records}))


class Cluster:
    """What stands around the listener's replicas."""

    def __init__(self, api: Any, cache: Path) -> None:
        self.api, self.cache, self.buckets = api, cache, MemoryBuckets()
        self.settings = SETTINGS
        self.listing_seconds = 3600.0  # what is found is found by events, unless a test says otherwise
        self.replicas: list[Replica] = []

    def replica(self, name: str = "listener-1") -> Replica:
        self.replicas.append(Replica(self, name))
        return self.replicas[-1]

    def apply(
        self, name: str, namespace: str = "shop", bucket: str = "landing", image: str = "", more: str = ""
    ) -> Key:
        written = read(spec(name, f"s3://{bucket}/{name}/", image) + more, "model.yaml").value
        if self.api.find(MODEL, namespace, name) is None:
            self.api.create(MODEL, written | {"metadata": written["metadata"] | {"namespace": namespace}})
        else:
            self.api.merge(MODEL, namespace, name, {"spec": written["spec"]})
        return namespace, name

    def accept(self, key: Key, status: str = "True", message: str = "") -> Key:
        generation = self.api.get(MODEL, *key)["metadata"]["generation"]
        condition = {"type": "Accepted", "status": status, "message": message, "observedGeneration": generation}
        self.api.merge(MODEL, *key, {"status": {"conditions": [condition]}}, "status")
        return key

    def put(self, key: str, day: int = 0, bucket: str = "landing") -> tuple[str, str]:
        self.buckets.bucket(bucket).put(key, day_file(day))
        return bucket, key

    def state(self, key: Key, cache: Path | None = None) -> State:
        return State.open(self.buckets, f"s3://state/{key[0]}", key[1], cache or self.cache / "test")

    def outcomes(self, key: Key) -> list[str]:
        return sorted(outcome.state for outcome in self.state(key).ledger.outcomes().values())

    def annotation(self, key: Key, name: str = ARRIVED) -> str:
        return str((self.api.get(MODEL, *key)["metadata"].get("annotations") or {}).get(name, ""))


@pytest.fixture
def cluster(api: Any, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(api, tmp_path)
    yield made
    for replica in made.replicas:
        replica.stop()


def test_an_upload_that_an_event_tells_of_is_taken_in_and_the_controller_is_told(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start().settle()
    told = replica.tell(cluster.put("bikes/a.csv"))
    assert (told.status_code, told.json()) == (202, {"objects": 1, "new": 1})
    until(lambda: cluster.outcomes(key) == ["ingested"] and cluster.annotation(key))


def test_an_event_reaches_the_models_whose_source_it_stands_in_and_no_others(cluster: Cluster) -> None:
    keys = [cluster.accept(cluster.apply(name)) for name in ("bikes", "cars")]
    both = cluster.accept(cluster.apply("bikes", namespace="web"))
    other = cluster.accept(cluster.apply("bikes", namespace="lab", bucket="elsewhere"))
    replica = cluster.replica().start().settle()
    assert replica.tell(cluster.put("bikes/a.csv"), cluster.put("cars/a.csv", 1)).json() == {"objects": 2, "new": 3}
    until(lambda: [cluster.outcomes(each) for each in (*keys, both)] == [["ingested"]] * 3)
    assert cluster.outcomes(other) == []


def test_nothing_is_taken_in_from_where_a_namespace_may_not_read_whatever_was_accepted_before(cluster: Cluster) -> None:
    cluster.settings = replace(SETTINGS, sources=parse("shop=landing/*, lab=lab-*/*"))
    allowed = cluster.accept(cluster.apply("bikes"))
    refused = cluster.accept(cluster.apply("bikes", namespace="lab"))
    of_the_state = cluster.accept(cluster.apply("shop", bucket="state"))
    replica = cluster.replica().start().settle()
    assert replica.tell(cluster.put("bikes/a.csv"), cluster.put("shop/a.csv", bucket="state")).json()["new"] == 1
    until(lambda: cluster.outcomes(allowed) == ["ingested"])
    assert [cluster.outcomes(each) for each in (refused, of_the_state)] == [[], []]
    assert "models of namespace lab may read lab-*/*" in replica.catalog.why_not(refused)
    assert "in the bucket of trimtab's own state" in replica.catalog.why_not(of_the_state)


def test_what_no_event_told_of_is_found_by_listing(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    cluster.put("bikes/before.csv")
    cluster.listing_seconds = 0.2
    cluster.replica().start()
    until(lambda: cluster.outcomes(key) == ["ingested"])
    cluster.put("bikes/after.csv", 1)
    until(lambda: cluster.outcomes(key) == ["ingested"] * 2)


def test_an_event_that_does_not_say_what_has_come_has_the_sources_listed(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start().settle()
    replica.tell(cluster.put("bikes/a.csv"))
    until(lambda: cluster.outcomes(key) == ["ingested"])
    cluster.put("bikes/b.csv", 1)
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "dev.knative.eventing.aws-s3"}
    assert replica.client.post("/v1/events", content=day_file(1), headers=headers).status_code == 202
    until(lambda: cluster.outcomes(key) == ["ingested"] * 2)


def test_of_two_replicas_one_takes_in_and_hears_what_the_other_wrote_down(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    first = cluster.replica("listener-1").start().settle()
    second = cluster.replica("listener-2").start()
    assert second.tell(cluster.put("bikes/a.csv")).json() == {"objects": 1, "new": 1}
    noted = until(lambda: cluster.annotation(key, NOTED))
    assert not second.intakes.acts
    assert noted
    first.catalog.look()  # as its watch would
    until(lambda: cluster.outcomes(key) == ["ingested"])


def test_the_next_replica_goes_on_when_the_one_that_took_in_has_ended(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    first = cluster.replica("listener-1").start().settle()
    second = cluster.replica("listener-2").start()
    first.intakes.stop()
    second.tell(cluster.put("bikes/a.csv"))
    until(lambda: second.intakes.acts and cluster.outcomes(key) == ["ingested"])


def test_nothing_is_taken_in_for_a_spec_that_is_not_accepted(cluster: Cluster) -> None:
    key = cluster.apply("bikes")
    replica = cluster.replica().start()
    told = replica.tell(cluster.put("bikes/a.csv"))
    assert told.json() == {"objects": 1, "new": 0}
    labels = replica.client.post("/v1/namespaces/shop/models/bikes/labels", json={"labels": []})
    assert labels.status_code == 503
    assert "the controller has not accepted its spec yet" in labels.json()["error"]
    cluster.accept(key)
    replica.catalog.look()
    until(lambda: cluster.outcomes(key) == ["ingested"])


def test_while_an_edited_spec_is_refused_labels_are_taken_by_the_last_good_one_and_uploads_wait(
    cluster: Cluster,
) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start()
    replica.tell(cluster.put("bikes/a.csv"))
    until(lambda: cluster.outcomes(key) == ["ingested"])
    cluster.apply("bikes", more="  suspend: true\n")
    cluster.accept(key, "False", "spec.training.estimator: found no such class")
    replica.catalog.look()
    replica.tell(cluster.put("bikes/b.csv", 1))
    label = {"labels": [{"requestId": "r", "count": 3.0}]}
    assert replica.client.post("/v1/models/bikes/labels", json=label).json() == {"labels": 1}
    assert cluster.outcomes(key) == ["ingested"]
    cluster.accept(key)
    replica.catalog.look()
    until(lambda: cluster.outcomes(key) == ["ingested"] * 2)


def test_one_model_s_trouble_holds_up_no_other(cluster: Cluster) -> None:
    cluster.buckets.only = ["state", "landing"]
    lost = cluster.accept(cluster.apply("bikes", bucket="deleted"))
    key = cluster.accept(cluster.apply("cars"))
    replica = cluster.replica().start()
    replica.tell(cluster.put("cars/a.csv"))
    until(lambda: cluster.outcomes(key) == ["ingested"])
    assert "found no bucket deleted" in until(lambda: replica.intakes.problems().get(lost))
    assert key not in replica.intakes.problems()
    status = replica.client.get("/v1/namespaces/shop/models/bikes/status").json()
    assert "found no bucket deleted" in status["problems"][0]


def test_a_source_that_cannot_be_listed_stays_a_problem_until_it_can(cluster: Cluster) -> None:
    cluster.buckets.only = ["state"]
    lost = cluster.accept(cluster.apply("bikes", bucket="late"))
    replica = cluster.replica().start()
    desk = replica.intakes.desks()[lost]
    until(lambda: desk.failures > 2)  # turns later: one that listed nothing would have passed for success
    assert "found no bucket late" in replica.intakes.problems()[lost]
    cluster.buckets.only = ["state", "late"]
    cluster.put("bikes/a.csv", bucket="late")
    until(lambda: cluster.outcomes(lost) == ["ingested"])
    until(lambda: not replica.intakes.problems())


def test_a_name_that_two_namespaces_have_is_asked_for_with_its_namespace(cluster: Cluster) -> None:
    keys = [cluster.accept(cluster.apply("bikes", namespace=namespace)) for namespace in ("shop", "web")]
    replica = cluster.replica().start()
    plain = replica.client.post("/v1/models/bikes/runs")
    assert (plain.status_code, "shop, web" in plain.json()["error"]) == (400, True)
    assert replica.client.post("/v1/namespaces/web/models/bikes/runs").status_code == 202
    until(lambda: cluster.annotation(keys[1]))
    assert not cluster.annotation(keys[0])
    assert replica.client.post("/v1/namespaces/web/models/nobody/runs").status_code == 404
    assert replica.client.get("/v1/namespaces/web/models/bikes/status").json()["namespace"] == "web"


def test_a_model_that_was_deleted_is_taken_in_for_no_more(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start().settle()
    cluster.api.delete(MODEL, *key)
    replica.catalog.look()
    assert replica.tell(cluster.put("bikes/a.csv")).json() == {"objects": 1, "new": 0}
    assert replica.client.get("/v1/models/bikes/status").status_code == 404


def test_before_the_models_are_known_senders_try_again_later(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica()
    assert [replica.client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 503]
    assert replica.tell(cluster.put("bikes/a.csv")).status_code == 503
    assert replica.client.post("/v1/models/bikes/runs").status_code == 503
    replica.start()
    assert replica.client.get("/readyz").status_code == 200
    assert replica.tell(cluster.put("bikes/a.csv")).status_code == 202
    until(lambda: cluster.outcomes(key) == ["ingested"])


def test_a_sender_without_headers_of_its_own_logs_in_with_the_token_as_its_password(cluster: Cluster) -> None:
    cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start()

    def login(text: str) -> int:
        given = base64.b64encode(text.encode()).decode()
        headers = {"Authorization": f"Basic {given}"}
        return replica.client.get("/v1/models/bikes/status", headers=headers).status_code

    assert [login(f"ceph:{TOKEN}"), login(f"{TOKEN}:"), login("ceph:wrong"), login(TOKEN)] == [200, 401, 401, 401]
    wrong = replica.client.get("/v1/models/bikes/status", headers={"Authorization": "Basic %%%"})
    assert wrong.status_code == 401


def test_metrics_count_uploads_by_namespace_and_model(cluster: Cluster) -> None:
    key = cluster.accept(cluster.apply("bikes"))
    replica = cluster.replica().start()
    replica.tell(cluster.put("bikes/a.csv"), cluster.put("bikes/same.csv"))
    until(lambda: cluster.outcomes(key) == ["duplicate", "ingested"])
    lines = replica.client.get("/metrics").text.splitlines()
    assert 'trimtab_uploads{model="bikes",namespace="shop",state="ingested"} 1.0' in lines
    assert 'trimtab_uploads{model="bikes",namespace="shop",state="duplicate"} 1.0' in lines
    assert "trimtab_intake_acts 1.0" in lines
    assert 'trimtab_intake_problems{model="bikes",namespace="shop"} 0.0' in lines


def test_a_model_with_its_own_image_is_taken_in_by_a_job_in_that_image(cluster: Cluster) -> None:
    image = "registry.example/bikes@sha256:" + "0" * 64
    key = cluster.accept(cluster.apply("bikes", image=image))
    replica = cluster.replica().start()
    replica.tell(cluster.put("bikes/a.csv"))
    job = until(lambda: cluster.api.list(JOB, "shop")[0])[0]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == image
    assert cluster.outcomes(key) == []

    # The Job's own process: with nothing but the store.
    address = container["command"][-1]
    text = cluster.buckets.bucket("state").get(address.removeprefix("s3://state/")).body.decode()
    model = model_of({**read(text, "spec").value, "metadata": {"name": "bikes", "namespace": "shop"}})
    said = own_image.intake(cluster.state(key), cluster.buckets, model, Environment("state", namespace="shop"))
    assert said == "bikes: 1 uploads taken in"
    until(lambda: cluster.annotation(key))
    assert cluster.outcomes(key) == ["ingested"]
    assert replica.intakes.problems() == {}
