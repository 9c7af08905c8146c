"""
What Envoy is started with: its listener, its access log, its admin socket, and where clusters and routes stand.

Paths are relative to its working directory: a unix socket's path may have 107 bytes at most.
"""

from __future__ import annotations

from typing import Any

from trimtab.adapters.envoy.clusters import TYPES

ADMIN = "admin.sock"
ACCESS_LOG = "access.jsonl"
BOOTSTRAP = "bootstrap.json"
CLUSTERS = "clusters.json"
ROUTES = "routes.json"
STAT_PREFIX = "gateway"
USER_HEADER = "x-trimtab-user"  # the value of the sticky header, put there by the route and by nobody else
IDLE_SECONDS = 300  # of a client's connection
BODY_SECONDS = 30  # a client that sends half a body is told so then
QUIET_SECONDS = 75  # of one request; above the route's own limit

# One JSON line a request. Nothing of what a client or a model says but the request's id and the user it names:
# neither path nor token.
ACCESS_FIELDS = {
    "at": "%START_TIME(%s.%6f)%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "answered_by": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "total_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "upstream_us": "%COMMON_DURATION(US_TX_END:US_RX_END:us)%",
    "ms": "%DURATION%",
    "id": "%REQ(SELDON-PUID?X-REQUEST-ID)%",
    "user": f"%REQ({USER_HEADER})%",
}
# What the router answers by itself, as JSON like the listener's. Direct responses say "what was found\nhint: ...";
# the reason is Envoy's own word, and all that some of its refusals say.
LOCAL_REPLY = {
    "json_format": {
        "error": "%LOCAL_REPLY_BODY%",
        "reason": "%RESPONSE_CODE_DETAILS%",
        "code": "%RESPONSE_CODE%",
        "gateway": True,
    }
}


def bootstrap(address: str, port: int, files: str, body_bytes: int) -> dict[str, Any]:
    """
    The bootstrap file.

    Args:
        address, port: Where clients reach the gateway. Several processes of one user may share the port.
        files: Folder of `clusters.json` and `routes.json`, relative to the working directory.
        body_bytes: Longest request; a longer one is answered 413.
    """

    def watched(name: str) -> dict[str, Any]:
        return {
            "path_config_source": {"path": f"{files}/{name}", "watched_directory": {"path": files}},
            "resource_api_version": "V3",
        }

    return {
        "node": {"id": "trimtab", "cluster": "trimtab"},
        "admin": {"address": {"pipe": {"path": ADMIN, "mode": 0o600}}},
        "dynamic_resources": {"cds_config": watched(CLUSTERS)},
        "static_resources": {"listeners": [_listener(address, port, watched(ROUTES), body_bytes)]},
    }


def _listener(address: str, port: int, routes: dict[str, Any], body_bytes: int) -> dict[str, Any]:
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": "gateway", "config_source": routes},
        "http_filters": [
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": body_bytes,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": ACCESS_LOG,
                    "log_format": {"json_format": ACCESS_FIELDS},
                },
            }
        ],
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": f"{QUIET_SECONDS}s",
        "request_timeout": f"{BODY_SECONDS}s",
        "common_http_protocol_options": {
            "idle_timeout": f"{IDLE_SECONDS}s",
            # A model server reads Seldon_Puid as Seldon-Puid, the access log does not: one request with two ids.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_name": "trimtab",
        "local_reply_config": {"body_format": LOCAL_REPLY},
    }
    return {
        "name": "gateway",
        "address": {"socket_address": {"address": address, "port_value": port}},
        # Two processes share the port: while one is started again, the other answers.
        "enable_reuse_port": True,
        "per_connection_buffer_limit_bytes": body_bytes,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
