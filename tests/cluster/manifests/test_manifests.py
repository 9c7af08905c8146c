"""What the manifests say: rights by verb, images by tag, no secrets, every container restricted, metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import promtool

ROOT = Path(__file__).parents[3]
Rendered = dict[str, list[dict[str, Any]]]
RUNNING = ("Deployment", "StatefulSet")
METRIC = re.compile(r"\btrimtab_[a-z0-9_]+")
# What the monitor knows of its own machine's model servers: in a cluster they run elsewhere.
OF_A_LAPTOP = {"trimtab_server_cores", "trimtab_server_memory_bytes"}


def of_kind(rendered: Rendered, *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder, objects in rendered.items():
        for each in objects:
            if each["kind"] in kinds:
                yield f"{folder}: {each['kind']} {each['metadata']['name']}", each


def test_every_object_stands_in_a_namespace_or_belongs_to_the_cluster(rendered: Rendered) -> None:
    clusters = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    clusters |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for folder in ("base", "overlays/kind", "overlays/production", "one-namespace"):
        for each in rendered[folder]:
            assert (each["kind"] in clusters) != ("namespace" in each["metadata"]), each["metadata"]["name"]


def test_no_secret_is_written_down(rendered: Rendered) -> None:
    assert not list(of_kind(rendered, "Secret"))
    for name, each in of_kind(rendered, *RUNNING):
        for container in each["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", ()):
                secret = re.search("TOKEN$|SECRET|ACCESS_KEY|PASSWORD", variable["name"])
                assert not secret or "value" not in variable, f"{name}: {variable['name']}"


def test_every_image_has_a_tag_or_a_digest(rendered: Rendered) -> None:
    found = 0
    for name, each in of_kind(rendered, *RUNNING):
        for container in each["spec"]["template"]["spec"]["containers"]:
            assert re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]), name
            found += 1
    assert found


def test_settings_name_images_of_the_tag_that_runs(rendered: Rendered) -> None:
    for folder in ("base", "overlays/kind", "overlays/production"):
        objects = rendered[folder]
        settings = next(each["data"] for each in objects if each["metadata"]["name"].startswith("trimtab-settings"))
        runs = {
            each["spec"]["template"]["spec"]["containers"][0]["image"].partition(":")[2]
            for each in objects
            if each["kind"] == "Deployment"
        }
        tags = {settings[f"TRIMTAB_{name}_IMAGE"].partition(":")[2] for name in ("PIPELINE", "SERVING")}
        assert runs == tags, folder


def test_every_process_reads_the_settings_that_are_there(rendered: Rendered) -> None:
    for folder in ("base", "overlays/kind", "overlays/production", "one-namespace"):
        names = {each["metadata"]["name"] for each in rendered[folder] if each["kind"] == "ConfigMap"}
        for name, each in of_kind({folder: rendered[folder]}, "Deployment"):
            sources = each["spec"]["template"]["spec"]["containers"][0]["envFrom"]
            assert sources[0]["configMapRef"]["name"] in names, name


def test_rights_are_listed_by_verb(rendered: Rendered) -> None:
    for name, role in of_kind(rendered, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"]), name
            assert "secrets" not in rule["resources"], name
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), name


def test_in_one_namespace_the_processes_hold_no_right_anywhere_else(rendered: Rendered) -> None:
    assert not list(of_kind({"": rendered["one-namespace"]}, "ClusterRoleBinding"))
    bound = [each for _, each in of_kind({"": rendered["one-namespace"]}, "RoleBinding")]
    assert sorted(each["roleRef"]["name"] for each in bound if each["metadata"]["namespace"] == "models") == [
        "trimtab-controller",
        "trimtab-listener",
        "trimtab-monitor",
    ]


def test_budgets_and_policies_select_pods_that_there_are(rendered: Rendered) -> None:
    for folder in ("base", "overlays/kind", "overlays/production"):
        pods = [
            each["spec"]["template"]["metadata"]["labels"] for _, each in of_kind({folder: rendered[folder]}, *RUNNING)
        ]
        for name, each in of_kind({folder: rendered[folder]}, "PodDisruptionBudget", "NetworkPolicy", "Service"):
            spec = each["spec"]
            wanted = spec["selector"] if each["kind"] == "Service" else (spec.get("selector") or spec["podSelector"])
            wanted = wanted.get("matchLabels", wanted) if "matchExpressions" not in wanted else {}
            assert any(wanted.items() <= labels.items() for labels in pods), name


def shown() -> set[str]:
    """The names of all metrics that listener, monitor and model servers show in a cluster."""
    from prometheus_client import CollectorRegistry, generate_latest

    from trimtab.app.cluster.measures import intake_metrics, monitor_metrics
    from trimtab.core.monitor.findings import Findings
    from trimtab.serving.meters import Meters

    now = datetime(2026, 1, 1, tzinfo=UTC)
    nothing = Findings(at=now, policy_at=now)
    servers = CollectorRegistry(auto_describe=True)
    servers.register(Meters(1, {"model": "flights", "version": "1"}))
    text = intake_metrics(True, {}, {}) + monitor_metrics(True, {("shop", "flights"): nothing}, {})
    text += generate_latest(servers)
    source = (ROOT / "trimtab" / "app" / "exposition.py").read_text()
    conditional = {f"trimtab_{name}" for name in re.findall(r'"(input_drift_\w+)"', source)}
    return set(re.findall(r"^# HELP (\S+)", text.decode(), re.MULTILINE)) - OF_A_LAPTOP | conditional


def test_model_servers_are_scraped_where_they_show_their_metrics(rendered: Rendered) -> None:
    from trimtab.adapters.kubernetes.predictor import ServedModel, model_predictor

    (found,) = {
        json.dumps(each["spec"])
        for _, each in of_kind(rendered, "PodMonitor")
        if each["metadata"]["name"] == "trimtab-model-servers"
    }
    spec = json.loads(found)
    (component,) = model_predictor(ServedModel("shop", "flights", {}, "image", "state", "", ""), 7)["componentSpecs"]
    assert {each["key"] for each in spec["selector"]["matchExpressions"]} <= component["metadata"]["labels"].keys()
    declared = {port["name"]: port["containerPort"] for port in component["spec"]["containers"][0]["ports"]}
    (scraped,) = spec["podMetricsEndpoints"]
    assert (scraped["portNumber"], scraped["path"]) == (declared["metrics"], "/prometheus")


def test_prometheus_may_reach_every_port_of_predictors_that_it_scrapes(rendered: Rendered) -> None:
    scraped = {
        point["portNumber"]
        for _, each in of_kind(rendered, "PodMonitor")
        for point in each["spec"]["podMetricsEndpoints"]
    }
    (policy,) = {
        json.dumps(each["spec"]["ingress"])
        for _, each in of_kind(rendered, "NetworkPolicy")
        if each["metadata"]["name"] == "predictions-by-the-gateway"
    }
    monitoring = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    opened = {
        port["port"]
        for rule in json.loads(policy)
        if {"namespaceSelector": monitoring} in rule["from"]
        for port in rule["ports"]
    }
    assert scraped
    assert scraped <= opened


def test_rules_and_dashboard_ask_for_metrics_that_are_shown(rendered: Rendered) -> None:
    rules = [
        rule["expr"]
        for _, each in of_kind(rendered, "PrometheusRule")
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    ]
    dashboard = json.loads((ROOT / "manifests/components/prometheus/dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for text in (*rules, *panels) for name in METRIC.findall(text)}
    assert len(rules) >= 9
    assert len(panels) >= 12
    assert asked <= shown(), asked - shown()


def test_promtool_finds_nothing_and_alerts_are_told_when_they_should(rendered: Rendered, tmp_path: Path) -> None:
    program = promtool()
    if program is None:
        pytest.skip("found no promtool: `make promtool` builds it")
    (rules,) = {json.dumps(each["spec"]) for _, each in of_kind(rendered, "PrometheusRule")}
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "rules_test.yaml").write_text((Path(__file__).parent / "rules_test.yaml").read_text())
    for words in (["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", ["pipeline", "services", "serving"])
def test_hadolint_finds_nothing(image: str) -> None:
    hadolint = ROOT / ".venv-cluster" / "bin" / "hadolint"
    done = subprocess.run([hadolint, ROOT / "images" / image / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("image", ["pipeline", "services", "serving"])
def test_images_run_as_nobody_with_pinned_packages(image: str) -> None:
    text = (ROOT / "images" / image / "Dockerfile").read_text()
    assert text.rindex("USER 65532:65532") > text.rindex("RUN ")
    assert "--require-hashes" in text
    assert "HEALTHCHECK" in text
    assert "ARG PYTHON=" in text


def test_the_right_to_read_pipelines_is_given_by_its_component_alone(
    rendered: dict[str, list[dict[str, Any]]], kustomize: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    components = [f"manifests/components/{name}" for name in ("pipeline-version", "one-namespace")]
    body = {"resources": ["manifests/base"], "components": components}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(body))

    def verbs(objects: list[dict[str, Any]]) -> list[list[str]]:
        (role,) = (
            each
            for each in objects
            if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", "trimtab-controller")
        )
        return [rule["verbs"] for rule in role["rules"] if rule["resources"] == ["pipelines"]]

    assert verbs(rendered["base"]) == []
    assert verbs(kustomize(tmp_path)) == [["get", "list"]]
