"""A control plane with the stand-in for Seldon's operator and for the kubelet, as the cluster tests have it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trimtab.adapters.kubernetes.api import Api

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests" / "cluster"


@contextmanager
def serving_cluster(folder: Path) -> Iterator[tuple[Api, Path]]:
    """The cluster as its administrator reaches it, and his kubeconfig; everything ends with the block."""
    sys.path.insert(0, str(TESTS))
    from conftest import Cluster, connect
    from control_plane import ControlPlane, free_ports
    from kubelet import Kubelet
    from seldon_process import SeldonOperator

    with ExitStack() as ends:
        plane = ControlPlane(folder / "plane")
        ends.callback(plane.stop)
        plane.start()
        cluster = Cluster(plane.kubeconfig, connect(plane.kubeconfig), plane, folder)
        cluster.install(ROOT / "manifests" / "crds", TESTS / "crds-of-others")
        operator = SeldonOperator(plane.kubeconfig, folder / "seldon", free_ports(1)[0])
        ends.callback(operator.down)
        operator.up()
        pods = Kubelet(connect(plane.kubeconfig))
        ends.callback(pods.stop)
        pods.start()
        yield cluster.api, plane.kubeconfig
