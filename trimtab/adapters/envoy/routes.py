"""
Envoy's routes: the split of the traffic as a file that is renamed into place.

In order: health without a token; then, with the gateway's token, a variant forced by header, predictions by the split,
everything else (feedback, metadata) to the champion; then 401.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from trimtab.adapters.envoy.bootstrap import USER_HEADER
from trimtab.adapters.envoy.clusters import alone, backed
from trimtab.core.ports import Serving

FORCE_HEADER = "x-trimtab-variant"
SPLIT = "split"  # name of the route whose answers are measured
TIMEOUT = "60s"
HOST = "models"  # what variants are told: by a host of its own a client could pass its request off as a mirrored one
# What answers with a prediction. A repeat of anything else (feedback) would count twice.
PREDICTIONS = r"/api/v[01]\.[01]/predictions|/predict|/v2/models/[^/]+(/versions/[^/]+)?/infer"
HEALTH = r"/health/(ping|status|live|ready)|/v2/health/(live|ready)"
BUCKETS = 100


def describe(split: Serving | None) -> str:
    """
    The split as the first part of a file's version: what Envoy says it has is then the split itself.

    >>> describe(Serving(champion=6, challenger=7, weight_percent=25, sticky_header="x-user"))
    'champion=6;challenger=7;weight=25;shadow=0;sticky=x-user'
    >>> described(describe(Serving(champion=6)) + ";digest=0a1b")
    Serving(champion=6, challenger=None, weight_percent=0, shadow=False, sticky_header='', versions=())
    """
    if split is None:
        return "nobody"
    challenger = "" if split.challenger is None else split.challenger
    return (
        f"champion={split.champion};challenger={challenger};weight={split.weight_percent};"
        f"shadow={split.shadow:d};sticky={split.sticky_header}"
    )


def described(version: str) -> Serving | None:
    """What `describe` made the version of; None of any other text."""
    words = dict(part.split("=", 1) for part in version.split(";") if "=" in part)
    if not words.get("champion"):
        return None
    return Serving(
        champion=int(words["champion"]),
        challenger=int(words["challenger"]) if words.get("challenger") else None,
        weight_percent=int(words["weight"]),
        shadow=words["shadow"] == "1",
        sticky_header=words["sticky"],
    )


def discovery(split: Serving | None, forced: Collection[int], token: str, reason: str) -> dict[str, Any]:
    """
    The file of routes.

    Args:
        split: Who answers; None: nobody, and every request is answered 503 with the reason.
        forced: Versions that a client may name by header.
        token: The gateway's bearer token.
        reason: Why nobody answers, with a hint.
    """
    routes: list[dict[str, Any]] = []
    if split is None:
        routes.append(_refusal(_match(HEALTH), "nobody", 503, reason))
        routes.append(_refusal(_match(token=token), "nobody", 503, reason))
    else:
        champion = alone(split.champion)
        routes.append({"name": "health", "match": _match(HEALTH), "route": _toward("5s", cluster=champion)})
        for number in sorted(forced):
            match = _match(token=token, forced=alone(number))
            routes.append(_to(alone(number), match, f"forced-{alone(number)}"))
        unknown = f"found {FORCE_HEADER} with a variant that does not run; now run: " + ", ".join(
            alone(number) for number in sorted(forced)
        )
        routes.append(_refusal(_match(token=token, forced=""), "unknown-variant", 404, unknown))
        routes.append({**_split(split), "match": _match(PREDICTIONS, token)})
        routes.append(_to(champion, _match(token=token), "other"))
    needed = "needed `Authorization: Bearer TOKEN` with the gateway's token\nhint: see TRIMTAB_GATEWAY_TOKEN"
    denied = _refusal({"prefix": "/"}, "denied", 401, needed)
    denied["response_headers_to_add"] = [_header("www-authenticate", "Bearer")]
    return {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                "name": "gateway",
                "max_direct_response_body_size_bytes": 16_384,
                "virtual_hosts": [
                    {"name": "gateway", "domains": ["*"], "routes": [_clean(route) for route in (*routes, denied)]}
                ],
            }
        ],
    }


def _split(split: Serving) -> dict[str, Any]:
    action = _toward(TIMEOUT)
    route: dict[str, Any] = {"name": SPLIT, "route": action}
    champion = alone(split.champion)
    if split.challenger is None or split.weight_percent == 0:
        action["cluster"] = champion
        if split.shadow and split.challenger is not None:
            everything = {"numerator": 100, "denominator": "HUNDRED"}
            action["request_mirror_policies"] = [
                {"cluster": alone(split.challenger), "runtime_fraction": {"default_value": everything}}
            ]
    else:
        # The challenger stands first: bucket 0 to weight-1 of the hash is its, so a higher weight only adds users.
        action["weighted_clusters"] = {
            "clusters": [
                {"name": backed(split.challenger, split.champion), "weight": split.weight_percent},
                {"name": champion, "weight": BUCKETS - split.weight_percent},
            ],
        }
        if split.sticky_header:
            action["weighted_clusters"]["use_hash_policy"] = True
            # Each challenger has users of its own: it is not always the same ones who get the new model.
            salted = {"pattern": {"regex": "(.+)"}, "substitution": rf"\1 {alone(split.challenger)}"}
            action["hash_policy"] = [{"header": {"header_name": split.sticky_header, "regex_rewrite": salted}}]
    if split.sticky_header:
        route["request_headers_to_add"] = [_header(USER_HEADER, f"%REQ({split.sticky_header})%")]
    return route


def _clean(route: dict[str, Any]) -> dict[str, Any]:
    """A variant has no use for the token, and no client says who the user is but by the sticky header."""
    # Per route: removals come before additions there, and after them one level up.
    return {**route, "request_headers_to_remove": ["authorization", USER_HEADER]}


def _match(path: str = "", token: str = "", forced: str | None = None) -> dict[str, Any]:
    match: dict[str, Any] = {"safe_regex": {"regex": path}} if path else {"prefix": "/"}
    headers: list[dict[str, Any]] = []
    if token:
        allowed = {"safe_regex": {"regex": f"(?i:bearer) +{re.escape(token)}"}}
        headers.append({"name": "authorization", "string_match": allowed})
    if forced == "":
        headers.append({"name": FORCE_HEADER, "present_match": True})
    elif forced is not None:
        headers.append({"name": FORCE_HEADER, "string_match": {"exact": forced}})
    return {**match, "headers": headers} if headers else match


def _to(cluster: str, match: dict[str, Any], name: str) -> dict[str, Any]:
    return {"name": name, "match": match, "route": _toward(TIMEOUT, cluster=cluster)}


def _toward(timeout: str, **where: str) -> dict[str, Any]:
    return {**where, "timeout": timeout, "host_rewrite_literal": HOST}


def _refusal(match: dict[str, Any], name: str, status: int, words: str) -> dict[str, Any]:
    return {"name": name, "match": match, "direct_response": {"status": status, "body": {"inline_string": words}}}


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
