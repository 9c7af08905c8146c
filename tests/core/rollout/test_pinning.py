"""Ports and replicas that are said as Seldon's operator has chosen them."""

from __future__ import annotations

from typing import Any

from trimtab.core.rollout.pinning import pinned, pins
from trimtab.core.rollout.predictors import Found


def predictor(name: str, *containers: str, ports: tuple[tuple[str, int], ...] = (), **more: Any) -> dict[str, Any]:
    given = [{"name": port, "containerPort": number} for port, number in ports]
    written = [{"name": each, **({"ports": given} if given else {})} for each in containers]
    graph = {"name": containers[0]} if containers else {"name": "server", "implementation": "SKLEARN_SERVER"}
    found = {"name": name, "replicas": 1, "graph": graph, **more}
    return {**found, "componentSpecs": [{"spec": {"containers": written}}]} if containers else found


def chosen(*predictors: dict[str, Any]) -> list[dict[str, int]]:
    """Ports by container, in the order of the list."""
    operations = pins(Found(predictors))
    return [
        {port["name"]: port["containerPort"] for port in each["value"]}
        for each in operations
        if each["path"].endswith("/ports")
    ]


def test_http_goes_by_distinct_name_and_metrics_by_container() -> None:
    assert chosen(predictor("a", "m"), predictor("b", "m"), predictor("c", "other")) == [
        {"metrics": 6000, "http": 9000, "grpc": 9500},
        {"metrics": 6001, "http": 9000, "grpc": 9500},
        {"metrics": 6002, "http": 9001, "grpc": 9501},
    ]


def test_one_that_says_its_metrics_port_takes_none_of_the_operators() -> None:
    said = predictor("a", "m", ports=(("metrics", 7000), ("http", 9000), ("grpc", 9500)))
    assert chosen(said, predictor("b", "m")) == [{"metrics": 6000, "http": 9000, "grpc": 9500}]


def test_a_sidecar_takes_a_number_and_gets_no_port() -> None:
    first = predictor("a", "m", "sidecar")
    assert chosen(first, predictor("b", "other")) == [
        {"metrics": 6000, "http": 9000, "grpc": 9500},
        {"metrics": 6001, "http": 9002, "grpc": 9502},
    ]


def test_a_prepackaged_server_before_it_takes_numbers_too() -> None:
    assert chosen(predictor("a"), predictor("b", "m")) == [{"metrics": 6001, "http": 9001, "grpc": 9501}]


def test_what_is_missing_comes_after_what_is_said_in_the_operators_order() -> None:
    [operation] = pins(Found((predictor("a", "m", ports=(("http", 8080), ("admin", 1))),)))
    assert [port["name"] for port in operation["value"]] == ["http", "admin", "metrics", "grpc"]


def test_replicas_are_as_many_as_there_are_and_at_least_one() -> None:
    found = predictor("a", "m")
    found.pop("replicas")
    for there, said in ((3, 3), (0, 1)):
        operation = pins(Found((found,), replicas={"a": there}))[0]
        assert (operation["path"], operation["value"]) == ("/spec/predictors/0/replicas", said)


def test_a_prepackaged_server_gets_a_container_to_say_its_ports_in() -> None:
    found = pinned(predictor("next"))
    [container] = found["componentSpecs"][0]["spec"]["containers"]
    assert container["name"] == "server"
    assert pins(Found((found,))) == []
