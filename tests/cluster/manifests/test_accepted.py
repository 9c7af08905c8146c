"""The real API server takes every manifest with strict validation, and every pod under the restricted level."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

Rendered = dict[str, list[dict[str, Any]]]
LEVEL = "pod-security.kubernetes.io/enforce"


def moved(objects: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """The same in the test's namespace, whatever namespaces they name: a dry run asks that theirs be there."""
    found = []
    for each in objects:
        meta = each["metadata"]
        if each["kind"] == "Namespace":
            meta = {**meta, "name": namespace}
        elif "namespace" in meta:
            meta = {**meta, "namespace": namespace}
        found.append({**each, "metadata": meta})
    return found


@pytest.mark.parametrize("folder", ["base", "overlays/kind", "overlays/production", "model-namespace", "one-namespace"])
def test_strict_validation_takes_every_manifest(cluster: Any, namespace: str, rendered: Rendered, folder: str) -> None:
    objects = moved(rendered[folder], namespace)
    dry = ("--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts")
    done = cluster.kubectl("apply", *dry, "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects)
    assert "unknown field" not in done.stderr


def test_a_field_that_does_not_exist_is_refused(cluster: Any, namespace: str, rendered: Rendered) -> None:
    service = next(each for each in moved(rendered["base"], namespace) if each["kind"] == "Service")
    body = {**service, "spec": {**service["spec"], "selektor": {}}}
    dry = ("--server-side", "--dry-run=server", "--validate=strict")
    done = cluster.kubectl("apply", *dry, "-f", "-", stdin=yaml.safe_dump(body))
    assert done.returncode != 0
    assert "selektor" in done.stderr


@pytest.mark.parametrize("folder", ["base", "overlays/kind", "overlays/production"])
def test_every_pod_is_restricted(cluster: Any, namespace: str, rendered: Rendered, folder: str) -> None:
    cluster.kubectl("label", "namespace", namespace, f"{LEVEL}=restricted", check=True)
    tried = 0
    for each in rendered[folder]:
        if each["kind"] not in ("Deployment", "StatefulSet"):
            continue
        template = each["spec"]["template"]
        claims = [claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", ())]
        volumes = [*template["spec"]["volumes"], *({"name": name, "emptyDir": {}} for name in claims)]
        spec = {**template["spec"], "serviceAccountName": "default", "volumes": volumes}
        meta = {"name": each["metadata"]["name"], "namespace": namespace, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        done = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(pod))
        assert done.returncode == 0, done.stderr
        tried += 1
    assert tried >= 3


def test_a_pod_that_may_become_root_is_refused(cluster: Any, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, f"{LEVEL}=restricted", check=True)
    done = cluster.kubectl("run", "root", "-n", namespace, "--image=a:1", "--dry-run=server")
    assert "violates PodSecurity" in done.stderr
