"""Roles of AWS in the place of keys: which service accounts carry one, and what docs/kubernetes.md says they need."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
SECTION = PAGE.split("## Roles in the place of keys\n")[1].split("\n## ")[0]
POLICIES = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)]
ARN = "eks.amazonaws.com/role-arn"
Kustomize = Callable[[Path], list[dict[str, Any]]]
STATE = "arn:aws:s3:::example-trimtab-state"


def roles(objects: list[dict[str, Any]]) -> dict[str, str | None]:
    """By service account."""
    found = [each["metadata"] for each in objects if each["kind"] == "ServiceAccount"]
    return {meta["name"]: (meta.get("annotations") or {}).get(ARN) for meta in found}


def test_in_production_every_process_carries_a_role(rendered: dict[str, list[dict[str, Any]]]) -> None:
    found = roles(rendered["overlays/production"])
    assert sorted(found) == ["trimtab-controller", "trimtab-listener", "trimtab-monitor"]
    assert all(role and role.startswith("arn:aws:iam::") for role in found.values())
    assert set(roles(rendered["base"]).values()) == {None}


def test_the_overlay_of_the_page_gives_a_namespaces_models_their_own_role(kustomize: Kustomize, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    (written,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "kustomization.yaml").write_text(written)
    objects = kustomize(tmp_path / "shop")
    assert roles(objects) == {"trimtab-model": "arn:aws:iam::123456789012:role/trimtab-shop"}
    assert {each["metadata"]["namespace"] for each in objects} == {"shop"}


def test_the_component_alone_annotates_the_account_under_which_models_work(
    kustomize: Kustomize, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    body = {"resources": ["manifests/model-namespace"], "components": ["manifests/components/aws-models"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(body))
    found = roles(kustomize(tmp_path))
    assert list(found) == ["trimtab-model"]
    assert found["trimtab-model"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_of_the_page_allows_what_the_store_is_asked_and_no_more(policy: dict[str, Any]) -> None:
    """Of boto3's operations in the adapter: one call may need two rights, and no right is without a call."""
    asked = set(re.findall(r"self\._client\.(\w+)", (ROOT / "trimtab" / "adapters" / "s3.py").read_text()))
    needed = {"get_object": "s3:GetObject", "head_object": "s3:GetObject", "put_object": "s3:PutObject"}
    needed |= {"list_objects_v2": "s3:ListBucket", "head_bucket": "s3:ListBucket"}
    # Of the port, for the embedded platform and the tests: no process deletes.
    assert asked == {*needed, "delete_object"}
    callers = [
        file
        for file in (ROOT / "trimtab").rglob("*.py")
        if re.search(r"\b(?:bucket|Bucket)\w*(?:\([^)]*\))?\.delete\(", file.read_text())
    ]
    assert callers == []
    allowed = {
        action
        for each in policy["Statement"]
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert allowed == set(needed.values())
    assert {each["Effect"] for each in policy["Statement"]} == {"Allow"}


def test_a_namespaces_role_writes_below_its_own_name_alone() -> None:
    processes, models = ({each["Sid"]: each for each in policy["Statement"]} for policy in POLICIES)
    assert processes["State"]["Resource"] == f"{STATE}/*"
    assert models["State"]["Resource"] == f"{STATE}/shop/*"
    for policy in POLICIES:
        writing = [each["Sid"] for each in policy["Statement"] if "s3:PutObject" in each["Action"]]
        assert writing == ["State"]
