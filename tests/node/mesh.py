"""
Istio's ingress gateway on this machine: an Envoy kept at exactly what a namespace's VirtualServices say.

    python mesh.py --namespace shop --port 18080 --folder /tmp/mesh

It reads what Istio reads (VirtualServices, DestinationRules, Services, their endpoints) and makes of it what Istio
makes: a cluster for each subset, whose endpoints are the ready pods with its labels; weights and mirrors as they stand;
an x-request-id for each request. It tries again as Istio does where a VirtualService says nothing: twice, at another
endpoint, and only what was certainly not answered (the connection failed, or the stream was refused). An answer, a
connection that broke after the request had been sent and a subset without endpoints are final.

`applied.jsonl` in the folder has a line for each split that Envoy has confirmed, `access.jsonl` one for each request.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from trimtab.adapters.envoy.admin import Admin
from trimtab.adapters.envoy.bootstrap import ADMIN, CLUSTERS, ROUTES, STAT_PREFIX
from trimtab.adapters.kubernetes.api import Api, Gone
from trimtab.adapters.kubernetes.kinds import POD, SERVICE, VIRTUAL_SERVICE, Kind
from trimtab.core.errors import TrimtabError, Unavailable

Body = dict[str, Any]
DESTINATION_RULE = Kind("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
WATCHED = (VIRTUAL_SERVICE, DESTINATION_RULE, SERVICE, ENDPOINT_SLICE, POD)
TYPES = "type.googleapis.com/envoy"
RETRIES = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
}
ACCESS_FIELDS = {
    "at": "%START_TIME(%s.%6f)%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ms": "%DURATION%",
    "id": "%REQ(X-REQUEST-ID)%",
}


class Seen:
    """What the API server has told of one namespace, by kind and name."""

    def __init__(self, objects: dict[Kind, dict[str, Body]]) -> None:
        self.objects = objects

    def splits(self) -> dict[str, Body]:
        """Of each VirtualService, how its first entry splits: weights by subset, and who is mirrored to how much."""
        found = {}
        for name, each in sorted(self.objects[VIRTUAL_SERVICE].items()):
            entry = each["spec"]["http"][0]
            mirror = {}
            if "mirror" in entry:
                mirror = {entry["mirror"]["subset"]: (entry.get("mirrorPercentage") or {"value": 100})["value"]}
            shares = {to["subset"]: weight for to, weight in weighted(entry)}
            found[name] = {"weights": shares, "mirror": mirror}
        return found

    def routes(self) -> Body:
        """The file of routes, without its version."""
        routes = [
            {"match": match, "route": self._action(entry)}
            for _, each in sorted(self.objects[VIRTUAL_SERVICE].items())
            for entry in each["spec"]["http"]
            for match in map(matching, entry.get("match") or [{}])
        ]
        for route, entry in zip(routes, self._entries(), strict=True):
            if "rewrite" in entry:
                route["route"]["prefix_rewrite"] = entry["rewrite"]["uri"]
        hosts = [{"name": "all", "domains": ["*"], "routes": routes}] if routes else []
        kind = f"{TYPES}.config.route.v3.RouteConfiguration"
        return {"resources": [{"@type": kind, "name": "gateway", "virtual_hosts": hosts}]}

    def _entries(self) -> Iterator[Body]:
        for _, each in sorted(self.objects[VIRTUAL_SERVICE].items()):
            for entry in each["spec"]["http"]:
                yield from [entry] * len(entry.get("match") or [{}])

    def _action(self, entry: Body) -> Body:
        shares = [(to, weight) for to, weight in weighted(entry) if weight]
        action: Body = {"timeout": entry.get("timeout", "0s"), "retry_policy": RETRIES}
        if len(shares) == 1:
            action["cluster"] = cluster_name(shares[0][0])
        else:
            clusters = [{"name": cluster_name(to), "weight": weight} for to, weight in shares]
            action["weighted_clusters"] = {"clusters": clusters}
        if "mirror" in entry:
            share = (entry.get("mirrorPercentage") or {"value": 100})["value"]
            part = {"default_value": {"numerator": round(share * 10_000), "denominator": "MILLION"}}
            policy = {"cluster": cluster_name(entry["mirror"]), "runtime_fraction": part}
            action["request_mirror_policies"] = [policy]
        return action

    def clusters(self) -> dict[str, Body]:
        """A cluster for each destination that a VirtualService names, by its name."""
        found = {}
        for entry in self._entries():
            mirrors = [entry["mirror"]] if "mirror" in entry else []
            for to in [*(each["destination"] for each in entry["route"]), *mirrors]:
                found[cluster_name(to)] = self._cluster(to)
        return found

    def _cluster(self, to: Body) -> Body:
        service = self.objects[SERVICE].get(to["host"].partition(".")[0])
        ports = service["spec"]["ports"] if service else []
        port = next((each for each in ports if each["port"] == to["port"]["number"]), None)
        endpoints = self._endpoints(service, port["name"], self._labels(to)) if service and port else []
        protocol = "http2_protocol_options" if port and port["name"].startswith("grpc") else "http_protocol_options"
        options = {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {protocol: {}},
        }
        most = 4_294_967_295
        limits = {"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": most}
        name = cluster_name(to)
        return {
            "@type": f"{TYPES}.config.cluster.v3.Cluster",
            "name": name,
            "type": "STATIC",
            "lb_policy": "LEAST_REQUEST",
            "connect_timeout": "10s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [
                    {
                        "lb_endpoints": [
                            {"endpoint": {"address": {"socket_address": {"address": address, "port_value": number}}}}
                            for address, number in endpoints
                        ]
                    }
                ],
            },
            "circuit_breakers": {"thresholds": [limits]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        }

    def _labels(self, to: Body) -> dict[str, str]:
        """Of a destination's subset; of one that no DestinationRule describes, labels that nobody has."""
        for rule in self.objects[DESTINATION_RULE].values():
            for subset in rule["spec"].get("subsets") or ():
                if rule["spec"]["host"] == to["host"] and subset["name"] == to["subset"]:
                    return dict(subset.get("labels") or {})
        return {"no": "subset"}

    def _endpoints(self, service: Body, port: str, labels: dict[str, str]) -> list[tuple[str, int]]:
        found = []
        for each in self.objects[ENDPOINT_SLICE].values():
            if each["metadata"]["labels"].get("kubernetes.io/service-name") != service["metadata"]["name"]:
                continue
            number = next((int(own["port"]) for own in each.get("ports") or () if own["name"] == port), None)
            for endpoint in each.get("endpoints") or ():
                pod = self.objects[POD].get((endpoint.get("targetRef") or {}).get("name", ""))
                held = (pod or {}).get("metadata", {}).get("labels") or {}
                if number and endpoint["conditions"].get("ready") and labels.items() <= held.items():
                    found += [(address, number) for address in endpoint["addresses"]]
        return sorted(found)


def weighted(entry: Body) -> list[tuple[Body, int]]:
    """Destinations with their weights: of several, one without a weight gets nothing; a single one gets all."""
    default = 100 if len(entry["route"]) == 1 else 0
    return [(each["destination"], each.get("weight", default)) for each in entry["route"]]


def cluster_name(to: Body) -> str:
    """
    As Istio names it.

    >>> cluster_name({"host": "iris-main.models.svc.cluster.local", "port": {"number": 8000}, "subset": "main"})
    'outbound|8000|main|iris-main.models.svc.cluster.local'
    """
    return f"outbound|{to['port']['number']}|{to['subset']}|{to['host']}"


def matching(match: Body) -> Body:
    """
    One of a VirtualService's matches, as Envoy takes it.

    >>> matching({"uri": {"prefix": "/seldon/shop/iris/"}})
    {'prefix': '/seldon/shop/iris/'}
    """
    uri = match.get("uri") or {"prefix": "/"}
    found: Body = {"safe_regex": {"regex": uri["regex"]}} if "regex" in uri else dict(uri)
    if headers := match.get("headers"):
        found["headers"] = [{"name": name, "string_match": how} for name, how in sorted(headers.items())]
    return found


def bootstrap(port: int) -> Body:
    """As of a gateway: its routes and clusters from files, its requests in a log. Reached from this machine alone."""

    def watched(name: str) -> Body:
        source = {"path": f"files/{name}", "watched_directory": {"path": "files"}}
        return {"path_config_source": source, "resource_api_version": "V3"}

    kind = f"{TYPES}.extensions.filters"
    log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{TYPES}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "access.jsonl",
            "log_format": {"json_format": ACCESS_FIELDS},
        },
    }
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": "gateway", "config_source": watched(ROUTES)},
        "http_filters": [router],
        "access_log": [log],
        "generate_request_id": True,
        "normalize_path": True,
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "node": {"id": "mesh", "cluster": "mesh"},
        "admin": {"address": {"pipe": {"path": ADMIN, "mode": 0o600}}},
        "dynamic_resources": {"cds_config": watched(CLUSTERS)},
        "static_resources": {
            "listeners": [{"name": "gateway", "address": address, "filter_chains": [{"filters": filters}]}]
        },
    }


class Gateway:
    """The Envoy in a folder, and what it works by."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._admin = Admin(folder)
        self._port = port
        self._clusters: dict[str, Body] = {}
        self._applied: Body = {}
        self._versions = ["", ""]  # of clusters and routes, as they stand in the files

    def start(self) -> subprocess.Popen[bytes]:
        (self._folder / "files").mkdir(parents=True)
        self._put(CLUSTERS, {"resources": []}, 0)
        self._put(ROUTES, Seen({kind: {} for kind in WATCHED}).routes(), 1)
        (self._folder / "bootstrap.json").write_text(json.dumps(bootstrap(self._port)))
        program = Path(sys.executable).parent / "envoy"
        command = [str(program), "-c", "bootstrap.json", "--use-dynamic-base-id", "--concurrency", "1"]
        with (self._folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--log-level", "warning"], cwd=self._folder, stdout=log, stderr=log, preexec_fn=_with_us
            )
        self._confirm()
        return process

    def apply(self, seen: Seen) -> None:
        """
        Until Envoy works by it: new clusters first, then the routes to them, then the old ones go.

        Raises:
            Unavailable: If Envoy does not take it.
        """
        wanted, splits = seen.clusters(), seen.splits()
        if {**self._clusters, **wanted} != self._clusters:
            self._put(CLUSTERS, _resources({**self._clusters, **wanted}), 0)
            self._confirm()
        self._put(ROUTES, seen.routes(), 1)
        self._confirm()
        if splits != self._applied:
            with (self._folder / "applied.jsonl").open("a") as file:
                file.write(json.dumps({"at": time.time(), **splits}) + "\n")
        self._put(CLUSTERS, _resources(wanted), 0)
        self._confirm()
        self._clusters, self._applied = wanted, splits

    def _put(self, name: str, body: Body, place: int) -> None:
        text = json.dumps(body, sort_keys=True)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        if self._versions[place] == version:
            return
        self._versions[place] = version
        partial = self._folder / f"{name}.partial"
        partial.write_text(json.dumps({"version_info": version, **body}))
        partial.replace(self._folder / "files" / name)

    def _confirm(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if list(self._admin.versions()) == self._versions and self._admin.settled():
                    return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise Unavailable(f"Envoy does not take {self._versions}: {self._admin.versions()}")
            time.sleep(0.005)


def _resources(clusters: dict[str, Body]) -> Body:
    return {"resources": [clusters[name] for name in sorted(clusters)]}


def _with_us() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it ends when this process does


class Watching:
    """Keeps up with a namespace, a thread for each kind."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._objects: dict[Kind, dict[str, Body]] = {}
        self._lock = threading.Lock()
        self.changed = threading.Event()
        for kind in WATCHED:
            threading.Thread(target=self._watch, args=(kind,), name=kind.plural, daemon=True).start()

    def seen(self) -> Seen | None:
        """None before everything was listed."""
        with self._lock:
            if len(self._objects) < len(WATCHED):
                return None
            return Seen({kind: dict(found) for kind, found in self._objects.items()})

    def _watch(self, kind: Kind) -> None:
        while True:
            try:
                found, version = self._api.list(kind, self._namespace)
                with self._lock:
                    self._objects[kind] = {each["metadata"]["name"]: each for each in found}
                self.changed.set()
                while True:
                    for event, each in self._api.watch(kind, self._namespace, version, seconds=300):
                        version = each["metadata"]["resourceVersion"]
                        with self._lock:
                            self._objects[kind].pop(each["metadata"]["name"], None)
                            if event != "DELETED":
                                self._objects[kind][each["metadata"]["name"]] = each
                        self.changed.set()
            except Gone:
                continue
            except TrimtabError as error:
                print(f"watching {kind.plural}: {error.message}", flush=True)
                time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Istio's ingress gateway for a namespace, on this machine.")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="an empty one")
    given = parser.parse_args()
    envoy: subprocess.Popen[bytes] | None = None

    def end(number: int, frame: FrameType | None) -> None:
        if envoy is not None:
            envoy.terminate()
            envoy.wait()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    gateway = Gateway(given.folder, given.port)
    envoy = gateway.start()
    watching = Watching(Api.connect(), given.namespace)
    print("ready", flush=True)
    while envoy.poll() is None:
        if not watching.changed.wait(1.0):
            continue
        watching.changed.clear()
        seen = watching.seen()
        if seen is not None:
            gateway.apply(seen)
    sys.exit(f"Envoy ended with {envoy.returncode}")


if __name__ == "__main__":
    main()
