"""The witness of every rollout here sees splits that Seldon's webhook lets through, and that must never be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import SELDON_DEPLOYMENT, VIRTUAL_SERVICE

from ..conftest import until

Object = dict[str, Any]


@pytest.fixture
def broken(cluster: Any, namespace: str, operator: Any, pods: Any, Witness: Any) -> Iterator[list[str]]:  # noqa: N803
    """What a witness of its own has seen."""
    found = Witness(cluster.api, namespace)
    yield found.broken
    found.end()


def predictor(name: str, **more: Any) -> Object:
    container = {"name": "classifier", "image": "iris:1"}
    graph = {"name": "classifier", "type": "MODEL"}
    return {
        "name": name,
        "graph": graph,
        "replicas": 1,
        "componentSpecs": [{"spec": {"containers": [container]}}],
    } | more


def test_a_split_that_is_not_whole_is_seen_where_it_is_written_and_where_it_is_routed(
    cluster: Any, namespace: str, broken: list[str]
) -> None:
    body = {"apiVersion": SELDON_DEPLOYMENT.api_version, "kind": SELDON_DEPLOYMENT.name, "metadata": {"name": "iris"}}
    cluster.api.create(SELDON_DEPLOYMENT, {**body, "spec": {"predictors": [predictor("main")]}}, namespace)
    until(lambda: cluster.api.find(VIRTUAL_SERVICE, namespace, "iris"))
    assert broken == []

    def write(*predictors: Object) -> None:
        cluster.api.merge(SELDON_DEPLOYMENT, namespace, "iris", {"spec": {"predictors": list(predictors)}})

    write(predictor("main", traffic=0))
    seen(broken, "weights {'main': 0}")
    write(predictor("main", traffic=150))
    seen(broken, "weights {'main': 150}", "routes [{'main': 150}, {'main': 150}]")
    write(predictor("main", traffic=90), predictor("copies", traffic=100, shadow=True))
    seen(broken, "weights {'main': 90}", "routes [{'main': 90}, {'main': 90}]")
    write(predictor("main", traffic=110), predictor("second", traffic=-10))
    seen(
        broken,
        "weights {'main': 110, 'second': -10}",
        "routes [{'main': 110, 'second': -10}, {'main': 110, 'second': -10}]",
    )


def seen(broken: list[str], *wanted: str) -> None:
    until(lambda: set(wanted) <= set(broken), what=f"{wanted} was not seen: {broken}")
