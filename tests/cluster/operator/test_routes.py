"""Routes, mirrors, names and replicas."""

from __future__ import annotations

from hashlib import md5

from trimtab.adapters.kubernetes.kinds import EVENT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE

from .conftest import predictor


def entries(iris):
    return iris.api.get(VIRTUAL_SERVICE, iris.namespace, "iris")["spec"]["http"]


def test_both_entries_carry_the_weights_and_none_says_zero(iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    web, rpc = entries(iris)
    assert web["match"] == [{"uri": {"prefix": f"/seldon/{iris.namespace}/iris/"}}]
    assert web["rewrite"] == {"uri": "/"}
    assert [each.get("weight") for each in web["route"]] == [100, None]
    assert [each.get("weight") for each in rpc["route"]] == [100, None]
    assert [each["destination"]["port"]["number"] for each in (web["route"][0], rpc["route"][0])] == [8000, 5001]
    assert rpc["match"][0]["headers"] == {"seldon": {"exact": "iris"}, "namespace": {"exact": iris.namespace}}
    assert "timeout" not in web


def test_a_shadow_is_a_mirror_and_one_without_a_share_gets_everything(iris):
    iris.create(predictor("main", 100), predictor("dark", 20, shadow=True))
    iris.until_settled()
    for entry in entries(iris):
        assert [each["destination"]["subset"] for each in entry["route"]] == ["main"]
        assert (entry["mirror"]["subset"], entry["mirrorPercentage"]) == ("dark", {"value": 20})
    assert iris.template("dark")["metadata"]["labels"]["seldon.io/shadow"] == "true"
    iris.change(predictor("main", 100), predictor("dark", 0, shadow=True))
    iris.until(lambda: all("mirrorPercentage" not in entry for entry in entries(iris)), "the share left out")
    assert all("mirror" in entry for entry in entries(iris))


def test_annotations_choose_gateway_host_and_retries(iris):
    annotations = {
        "seldon.io/istio-gateway": "web/public",
        "seldon.io/istio-host": "iris.example",
        "seldon.io/istio-retries": "3",
        "seldon.io/istio-retries-timeout": "7",
    }
    iris.create(predictor("main"), annotations=annotations)
    iris.until_settled()
    spec = iris.api.get(VIRTUAL_SERVICE, iris.namespace, "iris")["spec"]
    assert (spec["hosts"], spec["gateways"]) == (["iris.example"], ["web/public"])
    retry_on = "gateway-error,connect-failure,refused-stream"
    assert spec["http"][0]["retries"] == {"attempts": 3, "perTryTimeout": "7s", "retryOn": retry_on}


def test_without_an_engine_requests_go_to_the_model(iris):
    iris.create(predictor("main", annotations={"seldon.io/no-engine": "true"}))
    iris.until_settled()
    assert [each["name"] for each in iris.template()["spec"]["containers"]] == ["classifier"]
    assert [each["route"][0]["destination"]["port"]["number"] for each in entries(iris)] == [9000, 9500]


def test_a_name_too_long_is_a_digest(iris):
    long = "m" * 50
    iris.create(predictor(long))
    deployment = f"iris-{long}-0-classifier"
    digest = f"seldon-{md5(deployment.encode(), usedforsecurity=False).hexdigest()}"
    iris.until(lambda: digest in iris.names()["deployments"], "the Deployment")
    assert f"iris-{long}" in iris.names()["services"]


def test_a_servers_container_comes_from_its_implementation(iris):
    bare = {"name": "main", "replicas": 1, "graph": {"name": "classifier", "implementation": "SKLEARN_SERVER"}}
    bare["graph"]["modelUri"] = "s3://models/iris"
    iris.create(bare)
    iris.until_settled()
    assert iris.template()["spec"]["containers"][0]["image"] == "seldonio/sklearnserver:1.17.1"


def test_the_nearest_word_on_replicas_counts(iris):
    one = predictor("main", replicas=2)
    iris.create(one, replicas=3)
    iris.until_settled()
    assert iris.deployment()["spec"]["replicas"] == 2
    component = {**one["componentSpecs"][0], "replicas": 1}
    iris.change({**one, "componentSpecs": [component]}, replicas=3)
    iris.until(lambda: iris.deployment()["spec"]["replicas"] == 1, "the componentSpec's")


def test_events_run_dry(iris):
    iris.create(predictor("main", 100), predictor("canary", 0))
    iris.until_settled()
    reasons = lambda: [each["reason"] for each in events(iris)]  # noqa: E731

    def budget_spent() -> bool:
        body = {"metadata": {"labels": {"number": str(len(reasons()))}}}
        iris.api.merge(SELDON_DEPLOYMENT, iris.namespace, "iris", body)
        return len(reasons()) >= 25

    iris.until(budget_spent, "events without end")
    iris.change(predictor("main", 50), predictor("canary", 50))
    iris.until(lambda: iris.routes() == {"main": 50, "canary": 50}, "the weights")
    about = reasons()
    assert "CreateService" in about
    assert "UpdateVirtualService" not in about
    assert 25 <= len(about) <= 26


def events(iris):
    return [each for each in iris.api.list(EVENT, iris.namespace)[0] if each["regarding"]["name"] == "iris"]
