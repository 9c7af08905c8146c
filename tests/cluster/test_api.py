"""The API server as trimtab's adapter sees it, by what callers act upon."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trimtab.adapters.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, Kind
from trimtab.core.errors import Conflict, Invalid, NotFound, Unavailable


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data}


def test_what_is_created_is_found_listed_and_deleted(cluster, namespace):
    api = cluster.api
    made = api.create(CONFIG_MAP, config_map(namespace, colour="green"))
    assert api.get(CONFIG_MAP, namespace, "one") == made
    items, version = api.list(CONFIG_MAP, namespace, fields="metadata.name=one")
    assert [item["data"] for item in items] == [{"colour": "green"}]
    assert version
    api.delete(CONFIG_MAP, namespace, "one")
    api.delete(CONFIG_MAP, namespace, "one")
    assert api.find(CONFIG_MAP, namespace, "one") is None


def test_a_long_list_comes_in_pages_and_whole(cluster, namespace, monkeypatch):
    monkeypatch.setattr("trimtab.adapters.kubernetes.api.PAGE", 2)
    for number in range(5):
        cluster.api.create(CONFIG_MAP, config_map(namespace, f"many-{number}"))
    names = {item["metadata"]["name"] for item in cluster.api.list(CONFIG_MAP, namespace)[0]}
    assert {f"many-{number}" for number in range(5)} <= names


def test_who_writes_second_is_told_so(cluster, namespace):
    api = cluster.api
    read = api.create(CONFIG_MAP, config_map(namespace, colour="green"))
    with pytest.raises(Conflict):
        api.create(CONFIG_MAP, config_map(namespace))
    api.merge(CONFIG_MAP, namespace, "one", {"data": {"colour": "blue"}})
    with pytest.raises(Conflict):
        api.replace(CONFIG_MAP, read)
    with pytest.raises(Conflict):
        api.patch(CONFIG_MAP, namespace, "one", [{"op": "test", "path": "/data/colour", "value": "green"}])
    assert api.get(CONFIG_MAP, namespace, "one")["data"] == {"colour": "blue"}


def test_a_field_that_another_manager_applied_is_his_until_forced(cluster, namespace):
    api = cluster.api
    api.apply(CONFIG_MAP, config_map(namespace, colour="green"), "argocd")
    with pytest.raises(Conflict, match="argocd"):
        api.apply(CONFIG_MAP, config_map(namespace, colour="blue"), "trimtab")
    assert (
        api.apply(CONFIG_MAP, config_map(namespace, colour="blue"), "trimtab", force=True)["data"]["colour"] == "blue"
    )


def test_what_does_not_exist_is_not_found_be_it_object_or_kind(cluster, namespace):
    with pytest.raises(NotFound, match="one"):
        cluster.api.get(CONFIG_MAP, namespace, "one")
    with pytest.raises(NotFound):
        cluster.api.list(Kind("nowhere.dev", "v1", "Nothing", "nothings"))


def test_what_the_server_refuses_is_invalid_with_its_reason(cluster, namespace):
    with pytest.raises(Invalid, match="RFC 1123"):
        cluster.api.create(CONFIG_MAP, config_map(namespace, "Not_A_Name"))
    with pytest.raises(Invalid, match="field not declared in schema"):
        cluster.api.apply(CONFIG_MAP, {**config_map(namespace), "datum": {}}, "trimtab")


def test_a_watch_tells_what_happens_from_the_listing_on(cluster, namespace):
    api = cluster.api
    _, version = api.list(CONFIG_MAP, namespace)
    seen: list[tuple[str, str]] = []
    done = threading.Event()

    def look() -> None:
        for kind, found in api.watch(CONFIG_MAP, namespace, version, 30):
            seen.append((kind, found["metadata"]["name"]))
            if kind == "DELETED":
                done.set()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    api.create(CONFIG_MAP, config_map(namespace))
    api.merge(CONFIG_MAP, namespace, "one", {"data": {"colour": "red"}})
    api.delete(CONFIG_MAP, namespace, "one")
    assert done.wait(30)
    assert [each for each in seen if each[1] == "one"] == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_a_service_account_without_permission_is_told_what_it_may_not_do(cluster, namespace):
    api = cluster.api_as(namespace, "default")
    assert api.whoami() == f"system:serviceaccount:{namespace}:default"
    with pytest.raises(Invalid, match="cannot list resource"):
        api.list(DEPLOYMENT, namespace)


def test_a_server_that_is_away_is_unavailable_and_comes_back(cluster, namespace):
    if cluster.plane is None:
        pytest.skip("the API server is somebody else's")
    cluster.api.create(CONFIG_MAP, config_map(namespace, colour="green"))
    cluster.plane.stop_api_server()
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            cluster.api.get(CONFIG_MAP, namespace, "one")
    finally:
        cluster.plane.start_api_server()
    assert cluster.api.get(CONFIG_MAP, namespace, "one")["data"] == {"colour": "green"}


def test_kubectl_sees_the_same(cluster, namespace):
    cluster.api.create(CONFIG_MAP, config_map(namespace, colour="green"))
    done = cluster.kubectl("get", "configmap", "one", "-n", namespace, "-o", "jsonpath={.data.colour}")
    assert (done.returncode, done.stdout) == (0, "green"), done.stderr
