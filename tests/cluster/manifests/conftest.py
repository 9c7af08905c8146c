"""The manifests as kubectl renders them; no cluster is needed for that."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs import programs

ROOT = Path(__file__).parents[3]
FOLDERS = ("base", "overlays/kind", "overlays/production", "model-namespace")
ONE_NAMESPACE = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [base]
components: [components/one-namespace]
"""


def kustomized(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([str(programs().kubectl), "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


@pytest.fixture(scope="session")
def kustomize() -> Callable[[Path], list[dict[str, Any]]]:
    """What kubectl makes of a folder."""
    return kustomized


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By folder, and `one-namespace`: the base with that component."""
    found = {folder: kustomized(ROOT / "manifests" / folder) for folder in FOLDERS}
    whole = tmp_path_factory.mktemp("manifests") / "whole"
    shutil.copytree(ROOT / "manifests", whole)
    (whole / "kustomization.yaml").write_text(ONE_NAMESPACE)
    found["one-namespace"] = kustomized(whole)
    return found
