"""
Where the programs of a control plane come from: what the machine has, or a build from Kubernetes' own sources.

In this order: KUBEBUILDER_ASSETS; what a one-node cluster here was built with; an earlier build; a build now, with the
Go on PATH or the wheel's (7 to 9 processor minutes with an empty cache), kept for every later run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSION = "v1.34.4"
SOURCES = Path(__file__).parent / "go"
PROMTOOL_SOURCES, PROMTOOL_VERSION = Path(__file__).parent / "promtool", "v0.316.0"
WHEELS = Path(__file__).parents[2] / ".venv-cluster"
SERVERS = ("kube-apiserver", "kube-controller-manager")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@dataclass(frozen=True)
class Programs:
    etcd: Path
    api_server: Path
    controller_manager: Path
    kubectl: Path


def programs() -> Programs:
    """
    All four, built if need be.

    Raises:
        FileNotFoundError: If a program is nowhere, with what makes it.
    """
    folder = next((folder for folder in _folders() if _has_servers(folder)), None) or _build()
    api_server, controller_manager = (folder / name for name in SERVERS)
    return Programs(_find("etcd", folder), api_server, controller_manager, _find("kubectl", folder))


def _folders() -> Iterator[Path]:
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        yield Path(assets)
    one_node = Path(os.environ.get("ONENODE_HOME") or CACHE / "onenode")
    # A build that was interrupted has no bin folder of its final name yet, or not all programs in it.
    yield from sorted(one_node.glob("build-*/bin"), key=lambda each: each.stat().st_mtime, reverse=True)
    yield _built()


def _built() -> Path:
    return CACHE / "trimtab" / "control-plane" / VERSION


def _has_servers(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in SERVERS)


def _find(name: str, folder: Path) -> Path:
    on_path = shutil.which(name)
    places = [folder / name, WHEELS / "bin" / name, *([Path(on_path)] if on_path else [])]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise FileNotFoundError(f"found no {name}; `make .venv-cluster/cluster.done` installs it")


def _build() -> Path:
    folder = _built()
    with _alone(folder):
        if _has_servers(folder):
            return folder
        print(f"building Kubernetes {VERSION} (some minutes, once)", file=sys.stderr, flush=True)
        # As the one-node cluster builds them, so that either finds the other's compiled packages.
        flags = ("-ldflags", f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}")
        for name in SERVERS:
            _go_build(SOURCES, f"k8s.io/kubernetes/cmd/{name}", folder / name, *flags)
    return folder


def _go_build(sources: Path, package: str, program: Path, *flags: str) -> None:
    go = shutil.which("go") or str(WHEELS / "bin" / "go")
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    new = program.with_name(f"{program.name}.new")
    subprocess.run([go, "build", "-trimpath", *flags, "-o", str(new), package], cwd=sources, env=env, check=True)
    new.rename(program)


def promtool() -> Path | None:
    """Prometheus' checker of rules, where the machine has one or `build_promtool` has made it."""
    on_path = shutil.which("promtool")
    built = _promtool_built()
    return Path(on_path) if on_path else built if os.access(built, os.X_OK) else None


def build_promtool() -> Path:
    """Made from Prometheus' sources without its service discoveries; five processor minutes with an empty cache."""
    built = _promtool_built()
    with _alone(built.parent):
        if not os.access(built, os.X_OK):
            print(f"building promtool {PROMTOOL_VERSION} (some minutes, once)", file=sys.stderr, flush=True)
            package = "github.com/prometheus/prometheus/cmd/promtool"
            _go_build(PROMTOOL_SOURCES, package, built, "-tags", "netgo remove_all_sd")
    return built


def _promtool_built() -> Path:
    return CACHE / "trimtab" / "promtool" / PROMTOOL_VERSION / "promtool"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Workers of one test run build once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(promtool() or build_promtool() if sys.argv[1:] == ["promtool"] else programs())
