"""One installation in a cluster that runs pods: KUBECONFIG's, with the images of `make image-archives` loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from site_under_test import NAMESPACES, Site

ENABLED = "TRIMTAB_TEST_NODE"  # set by `make test-node`
IMAGES = {f"docker.io/trimtab/{name}:test" for name in ("pipeline", "services", "serving", "seaweedfs", "envoy")}
IMAGE_SECONDS = 120.0  # a kubelet tells some time after images were loaded that it has them

# `make test` leaves these out: they need a node that runs pods.
collect_ignore_glob = [] if ENABLED in os.environ else ["*"]


def lacking() -> list[str]:
    """Images that the nodes do not hold."""
    held = {
        name
        for node in json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
        for image in node["status"].get("images", ())
        for name in image.get("names") or ()  # none of an image whose name another took
    }
    return sorted(IMAGES - held)


def unfit() -> str:
    """Why the suite cannot run on the cluster that was given; empty where it can."""
    # What is brought up is taken down again: nobody else's installation may stand there.
    if standing := kubectl("get", "namespace", *NAMESPACES, "--ignore-not-found", "-o", "name").split():
        return f"the cluster of KUBECONFIG holds {', '.join(standing)} already: give one without them"
    deadline = time.monotonic() + IMAGE_SECONDS
    while (names := lacking()) and time.monotonic() < deadline:
        time.sleep(1)
    return f"the nodes lack {', '.join(names)}: load build/images.tar of `make image-archives`" if names else ""


def kubectl(*words: str) -> str:
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        pytest.exit(f"tests/node: the cluster of KUBECONFIG does not answer: {done.stderr.strip()}", returncode=2)
    return done.stdout


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not os.environ.get("KUBECONFIG"):
        print("tests/node: skipped: no KUBECONFIG names a cluster that runs pods")
        pytest.skip("no KUBECONFIG names a cluster that runs pods")
    if reason := unfit():
        pytest.exit(f"tests/node: {reason}", returncode=2)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # addresses of the cluster's are this machine's own
    found = Site(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("site"))
    try:
        found.up()
        yield found
    finally:
        found.down()
