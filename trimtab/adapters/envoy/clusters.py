"""
Envoy's clusters: each variant alone, and each challenger with the champion behind it.

The second kind has two priorities. A request that the challenger cannot take, or that it fails, goes to the champion,
in the same request, without the client's knowing; the access log names the cluster that was chosen and the host that
answered. It is tried again only where the challenger has certainly given no answer: it refused the connection, was
gone before anything was sent, or answered with a failure of its own (5xx).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.core.ports import Serving

TYPES = "type.googleapis.com/envoy"
CONNECT_SECONDS = 1.0
# Below the model server's 120 s: else a request may meet a connection that is just being closed.
IDLE_SECONDS = 30.0
FAILURES = (500, 502, 503, 504)
NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
ANSWERED_WITH_FAILURE = f"{NEVER_SENT},retriable-status-codes"
LOOPBACK = "127.0.0.1"


def alone(version: int) -> str:
    """
    >>> alone(7)
    'v7'
    """
    return f"v{version}"


def backed(version: int, champion: int) -> str:
    """
    >>> backed(7, 6)
    'v7-or-v6'
    """
    return f"v{version}-or-v{champion}"


def chosen(cluster: str) -> int | None:
    """
    The variant that a cluster stands for; None where the name is none of ours.

    >>> chosen("v7-or-v6"), chosen("v6"), chosen("-")
    (7, 6, None)
    """
    name = cluster.partition("-or-")[0]
    return int(name[1:]) if name[:1] == "v" and name[1:].isdecimal() else None


def discovery(ports: Mapping[int, int], splits: Iterable[Serving], body_bytes: int) -> dict[str, Any]:
    """
    The file of clusters.

    Args:
        ports: Of the variants, by version.
        splits: Splits that lead, or are about to lead, to them: each challenger in one gets its champion behind it.
        body_bytes: Longest request; so much is kept for a second attempt.
    """
    clusters = [_cluster(alone(number), {number: port}, body_bytes) for number, port in sorted(ports.items())]
    pairs = {(split.challenger, split.champion) for split in splits if split.challenger is not None}
    for challenger, champion in sorted(pairs):
        if challenger in ports and champion in ports:
            both = {challenger: ports[challenger], champion: ports[champion]}  # in the order of their priority
            clusters.append(_cluster(backed(challenger, champion), both, body_bytes))
    return {"resources": clusters}


def _cluster(name: str, ports: dict[int, int], body_bytes: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS:g}s"},
    }
    options["retry_policy"] = _hand_over() if len(ports) > 1 else _knock_again()
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{CONNECT_SECONDS:g}s",
        "per_connection_buffer_limit_bytes": body_bytes,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"priority": priority, "lb_endpoints": [{"endpoint": _endpoint(*variant)}]}
                for priority, variant in enumerate(ports.items())
            ],
        },
        "health_checks": [_health_check()],
        # A variant that fails its checks still gets the request where there is no other.
        "common_lb_config": {"healthy_panic_threshold": {"value": 50}},
        "circuit_breakers": {"thresholds": [_limits("DEFAULT"), _limits("HIGH")]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _endpoint(version: int, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    return {"hostname": alone(version), "address": address}  # the access log says the name


def _hand_over() -> dict[str, Any]:
    """To the champion, once."""
    return {
        "retry_on": ANSWERED_WITH_FAILURE,
        "retriable_status_codes": list(FAILURES),
        "num_retries": 1,
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{TYPES}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
    }


def _knock_again() -> dict[str, Any]:
    """At the same variant: over the moment in which a connection is closed or a worker replaced."""
    return {
        "retry_on": NEVER_SENT,
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.1s"},
    }


def _health_check() -> dict[str, Any]:
    """
    Takes a variant out that hangs; one that died is noticed at once, by its refused connections.

    Lenient, since a variant that computes for two seconds is busy and not ill.
    """
    return {
        "timeout": "3s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/health/ping"},
    }


def _limits(priority: str) -> dict[str, Any]:
    """Envoy's own limits are 1,024 requests and 3 retries at once; a model server queues in its own way."""
    most = 100_000
    return {
        "priority": priority,
        "max_connections": most,
        "max_pending_requests": most,
        "max_requests": most,
        "max_retries": most,
    }
