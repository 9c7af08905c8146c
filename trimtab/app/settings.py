"""
Where a command finds its platform: the environment, else the nearest `.trimtab/env` in this folder or above it.

The file is read as data, never sourced. It counts as a whole, since an endpoint and its keys belong together: with
TRIMTAB_STATE_BUCKET in the environment the file is not read; without it the file's values stand over the
environment's, and variables that would make boto3 use other keys are dropped.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from trimtab.adapters import environment
from trimtab.adapters.environment import Environment
from trimtab.core.errors import Invalid

FOLDER = ".trimtab"
FILE = "env"
# Each makes boto3 prefer, or add, something that does not belong to the keys in the file.
FOREIGN = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
)

NO_PROXY = ("NO_PROXY", "no_proxy")


def settings(start: Path | None = None) -> Environment:
    """
    The settings of this process; `os.environ` then holds what boto3 needs.

    Args:
        start: The folder to look from; by default the working directory.

    Raises:
        Invalid: If there are none, or the file is not this user's own and private.
    """
    if not os.environ.get("TRIMTAB_STATE_BUCKET"):
        path = nearest(start or Path.cwd())
        if path is not None:
            apply(read(path))
    return environment.read()


def nearest(start: Path) -> Path | None:
    """The first `.trimtab/env` in the folder or above it."""
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / FOLDER / FILE
        if path.is_file():
            return path
    return None


def apply(values: Mapping[str, str]) -> None:
    """Put the values into `os.environ`, in place of whatever else boto3 would use."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(values)
    _go_past_proxies()


def read(path: Path) -> dict[str, str]:
    """
    The file's variables.

    Raises:
        Invalid: If others may read or write it (it holds keys, and names code to run), or a line is not KEY=VALUE.
    """
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise Invalid(
            f"{path} belongs to user {status.st_uid}, and this process runs as user {os.geteuid()}",
            "set TRIMTAB_STATE_BUCKET and the AWS_* variables, or run in a folder of your own",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise Invalid(
            f"{path} holds keys and others may read it (mode {stat.S_IMODE(status.st_mode):o})", f"chmod 600 {path}"
        )
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{path} is not text: byte {error.start} is {error.object[error.start]:#04x}",
            "`trimtab up -f model.yaml` writes the file again",
        ) from None


def parse(text: str, source: str = FILE) -> dict[str, str]:
    """
    The variables of KEY=VALUE lines, as a shell would read them.

    >>> parse("A=1\\n# a remark\\nB='x y'\\n")
    {'A': '1', 'B': 'x y'}
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = ["", ""]
        if not words:
            continue
        name, equals, value = words[0].partition("=")
        if len(words) != 1 or not equals or not name.isidentifier() or "\0" in value:
            raise Invalid(
                f"{source}, line {number}: needed KEY=VALUE", "`trimtab up -f model.yaml` writes the file again"
            )
        found[name] = value
    return found


def render(values: Mapping[str, str]) -> str:
    """
    The values as lines that a shell may source and `parse` reads.

    >>> render({"A": "x y"})
    "A='x y'\\n"
    """
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _go_past_proxies() -> None:
    """A proxy cannot reach this machine's loopback: boto3 and httpx must not ask it to."""
    for name in NO_PROXY:
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        if "127.0.0.1" not in hosts:
            os.environ[name] = ",".join([*hosts, "127.0.0.1"])
