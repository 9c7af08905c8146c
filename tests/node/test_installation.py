"""The manifests in real pods: what comes up, as whom, and what a namespace refuses."""

from __future__ import annotations

import json
from typing import Any

from site_under_test import MODELS, NAMESPACES, SYSTEM, Site

PROCESSES = ("controller", "listener", "monitor", "store")


def test_each_process_runs_under_its_own_account_in_a_restricted_namespace(site: Site) -> None:
    assert site.all_ready()
    for name in PROCESSES:
        pods = site.pods(SYSTEM, f"app.kubernetes.io/name=trimtab-{name}")
        assert [pod["spec"]["serviceAccountName"] for pod in pods] == [f"trimtab-{name}"]
    labels = site.kubectl("get", "namespace", *NAMESPACES, "-o", "jsonpath={.items[*].metadata.labels}").stdout
    assert labels.count('"pod-security.kubernetes.io/enforce":"restricted"') == len(NAMESPACES)
    root: dict[str, Any] = {"runAsUser": 0}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": MODELS},
        "spec": {"containers": [{"name": "main", "image": "trimtab/services:test", "securityContext": root}]},
    }
    refused = site.kubectl("create", "-f", "-", stdin=json.dumps(pod), check=False)
    assert "violates PodSecurity" in refused.stderr
