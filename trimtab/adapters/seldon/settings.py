"""What a model server is told from outside: TRIMTAB_* variables, as docs/operations.md lists them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.adapters import environment
from trimtab.core.errors import Invalid

BIND = re.compile(r"(?P<host>[^:\s]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Settings:
    """
    One server's.

    `log_folder` is empty where predictions are not logged. `threads` bounds the connections that are held at once.
    """

    model: str
    version: int
    state: str  # s3://BUCKET/NAMESPACE
    log_folder: str
    bind: str = "127.0.0.1:9000"
    metrics_bind: str = ""
    workers: int = 1
    threads: int = 128
    log_rows: int = 5000
    log_seconds: float = 5.0
    trusted_types: tuple[str, ...] = ()
    spec_folder: str = ""


def read(environ: Mapping[str, str] | None = None, model: str = "", version: str = "") -> Settings:
    """
    The settings that stand in the environment; `model` and `version` come before it.

    Raises:
        Invalid: Naming the variable that is missing or wrong.
    """
    env = os.environ if environ is None else environ
    outer = environment.read(env)
    return Settings(
        model=model or _needed(env, "TRIMTAB_MODEL", "the name of the model to serve"),
        version=_version(version or _needed(env, "TRIMTAB_VERSION", "the version to serve, such as 7")),
        state=outer.state,
        log_folder=env.get("TRIMTAB_LOG_FOLDER", ""),
        bind=_address(env, "TRIMTAB_BIND", Settings.bind),
        metrics_bind=_address(env, "TRIMTAB_METRICS_BIND", ""),
        workers=_number(env, "TRIMTAB_WORKERS", Settings.workers, 1, 64),
        threads=_number(env, "TRIMTAB_THREADS", Settings.threads, 1, 4096),
        log_rows=_number(env, "TRIMTAB_LOG_ROWS", Settings.log_rows, 1, 1_000_000),
        log_seconds=_seconds(env, "TRIMTAB_LOG_SECONDS", Settings.log_seconds),
        trusted_types=outer.trusted_types,
        spec_folder=outer.spec_folder,
    )


def log_root(settings: Settings) -> Path | None:
    """The folder that holds one folder a writer, or None where predictions are not logged."""
    return Path(settings.log_folder).resolve() if settings.log_folder else None


def _needed(env: Mapping[str, str], name: str, what: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise Invalid(f"found no {name} in the environment; it is {what}", f"set {name}")
    return value


def _version(text: str) -> int:
    number = text.strip().removeprefix("v")
    if not number.isascii() or not number.isdecimal() or int(number) < 1:
        raise Invalid(f"TRIMTAB_VERSION is {text!r}; it must be a version's number", "set it to such as 7")
    return int(number)


def _address(env: Mapping[str, str], name: str, default: str) -> str:
    value = env.get(name, "") or default
    found = BIND.fullmatch(value)
    if value and (found is None or int(found["port"]) > 65535):
        raise Invalid(f"{name} is {value!r}; it must be HOST:PORT", f"set it to such as {Settings.bind}")
    return value


def _number(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = env.get(name, "") or str(default)
    if not value.isascii() or not value.isdecimal() or not least <= int(value) <= most:
        raise Invalid(f"{name} is {value!r}; it must be a whole number from {least} to {most:,}", f"correct {name}")
    return int(value)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    value = env.get(name, "") or str(default)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0.05 <= seconds <= 3600:
        raise Invalid(f"{name} is {value!r}; it must be seconds from 0.05 to 3600", f"correct {name}")
    return seconds
