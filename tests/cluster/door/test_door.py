"""Listener and monitor as processes, under their own permissions, with a real API server and a real store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from accounts import granted
from bikes import day_file, spec

from trimtab.adapters.kubernetes.kinds import JOB, MODEL, POD, Kind
from trimtab.adapters.state import State
from trimtab.app.cluster.monitor import MEASURED
from trimtab.app.cluster.resources import ARRIVED
from trimtab.app.embedded.ports import free_ports
from trimtab.app.status import read_findings
from trimtab.core.predictions import PredictionLine
from trimtab.core.spec.document import read

TOKEN = "s3cret"
ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)


def until(look: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found


class Site:
    """A namespace with models, their store, and the processes that work for them."""

    def __init__(
        self,
        cluster: Any,
        accounts: Any,
        namespace: str,
        buckets: Any,
        environment: dict[str, str],
        places: tuple[str, str],
        folder: Path,
    ) -> None:
        self.cluster, self.api, self.namespace, self.buckets = cluster, cluster.api, namespace, buckets
        self.accounts = accounts
        self.state_bucket, self.landing = places
        self.environment, self.folder = environment, folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, name: str = "") -> httpx.Client:
        """A process as its pod would run it; returns a client of its door once that is open."""
        port = free_ports(["door"])["door"]
        log = self.folder / f"{name or program}.log"
        settings = {
            "KUBECONFIG": str(self.accounts.kubeconfig(program)),
            "TRIMTAB_STATE_BUCKET": self.state_bucket,
            "TRIMTAB_WATCH_NAMESPACES": self.namespace,
            "TRIMTAB_TOKEN": TOKEN,
            "TRIMTAB_BIND": f"127.0.0.1:{port}",
            "TRIMTAB_CACHE": str(self.folder / f"cache-{name or program}"),
            "POD_NAME": name or program,
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", f"trimtab.app.cluster.{program}"],
                env={**os.environ, **self.environment, **settings},
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=30)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        until(ready)
        return client

    def apply(self, name: str, image: str = "") -> None:
        written = read(spec(name, f"s3://{self.landing}/{name}/", image), "model.yaml").value
        meta = {"name": name, "namespace": self.namespace}
        made = self.api.create(MODEL, written | {"metadata": meta})
        accepted = {
            "type": "Accepted",
            "status": "True",
            "reason": "Checked",
            "message": "",
            "observedGeneration": made["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        self.api.merge(MODEL, self.namespace, name, {"status": {"conditions": [accepted]}}, "status")

    def upload(self, client: httpx.Client, key: str, day: int = 0) -> None:
        """Put a file and tell of it, as the store would; who is not ready is told again."""
        self.buckets.bucket(self.landing).put(key, day_file(day))
        record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": self.landing}, "object": {"key": key}}}
        body = json.dumps({"Records": [record]})
        until(lambda: client.post("/v1/events", content=body).status_code == 202)

    def state(self, name: str) -> State:
        return State.open(self.buckets, f"s3://{self.state_bucket}/{self.namespace}", name, self.folder / "test")

    def outcomes(self, name: str) -> list[str]:
        return sorted(outcome.state for outcome in self.state(name).ledger.outcomes().values())

    def annotation(self, name: str, annotation: str) -> str:
        meta = self.api.get(MODEL, self.namespace, name)["metadata"]
        return str((meta.get("annotations") or {}).get(annotation, ""))


@pytest.fixture
def site(
    cluster: Any,
    accounts: Any,
    namespace: str,
    buckets: Any,
    environment: dict[str, str],
    state_bucket: str,
    landing_bucket: str,
    tmp_path: Path,
) -> Iterator[Site]:
    made = Site(cluster, accounts, namespace, buckets, environment, (state_bucket, landing_bucket), tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.terminate()
    codes = [process.wait(60) for process in made.processes]
    assert set(codes) <= {0, -signal.SIGKILL}


def test_an_upload_is_taken_in_and_the_controller_woken_also_after_the_api_server_was_restarted(site: Site) -> None:
    site.apply("bikes")
    client = site.start("listener")
    site.upload(client, "bikes/a.csv")
    until(lambda: site.outcomes("bikes") == ["ingested"])
    first = until(lambda: site.annotation("bikes", ARRIVED))
    if site.cluster.plane is not None:
        site.cluster.restart_api_server()
    site.apply("cars")
    until(lambda: client.get(f"/v1/namespaces/{site.namespace}/models/cars/status").status_code == 200)
    site.upload(client, "cars/a.csv", 1)
    site.upload(client, "bikes/b.csv", 2)
    until(lambda: site.outcomes("cars") == ["ingested"] and site.outcomes("bikes") == ["ingested"] * 2)
    until(lambda: site.annotation("cars", ARRIVED) and site.annotation("bikes", ARRIVED) != first)


def test_the_second_listener_goes_on_when_the_first_is_killed(site: Site) -> None:
    site.apply("bikes")
    first = site.start("listener", "listener-1")
    until(lambda: "trimtab_intake_acts 1.0" in first.get("/metrics").text)
    second = site.start("listener", "listener-2")
    site.processes[0].kill()
    site.upload(second, "bikes/a.csv")
    until(lambda: site.outcomes("bikes") == ["ingested"])


def test_a_job_in_the_model_s_own_image_is_admitted_where_pods_are_restricted(site: Site) -> None:
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    site.api.merge(NAMESPACE, "", site.namespace, restricted)
    meta = {"name": "trimtab-model", "namespace": site.namespace}
    site.api.create(ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    site.apply("mine", image="registry.example/mine@sha256:" + "0" * 64)
    client = site.start("listener")
    site.upload(client, "mine/a.csv")
    (job,) = until(lambda: site.api.list(JOB, site.namespace)[0])
    selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    (pod,) = until(lambda: site.api.list(POD, site.namespace, selector)[0])
    assert pod["spec"]["containers"][0]["command"][-2] == "intake"
    assert job["metadata"]["ownerReferences"][0]["name"] == "mine"


def test_the_monitor_measures_what_is_served_and_wakes_the_controller(site: Site) -> None:
    site.apply("bikes")
    state, now = site.state("bikes"), time.time()
    lines = [
        PredictionLine(id=str(each), at=now - 300 + each, version=1, seconds=0.01, rows=1, predictions=[1.0])
        for each in range(30)
    ]
    state.bucket.create(state.layout.predictions("v1-a", 0), b"".join(line.to_json() + b"\n" for line in lines))
    client = site.start("monitor")
    until(lambda: read_findings(site.state("bikes")) and site.annotation("bikes", MEASURED))
    wanted = f'trimtab_availability_ratio{{model="bikes",namespace="{site.namespace}",version="v1"}} 1.0'
    until(lambda: wanted in client.get("/metrics").text.splitlines())


def test_nothing_but_what_stands_in_the_rules_is_asked_of_the_api_server(site: Site) -> None:
    if site.cluster.plane is None:
        pytest.skip("only the test's own API server shows its audit log")
    site.apply("bikes")
    client = site.start("listener")
    site.upload(client, "bikes/a.csv")
    until(lambda: site.annotation("bikes", ARRIVED))
    asked = {(each.verb, each.resource) for each in site.cluster.asked("trimtab-listener")}
    assert {("list", "trimtab.dev/continuousmodels"), ("patch", "trimtab.dev/continuousmodels")} <= asked
    assert {each for each in asked if not each[1].startswith("/")} <= granted("listener")
