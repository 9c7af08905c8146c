"""
What the layers hold: Python and a shell of this machine, packages of an environment, trimtab.

Everything lands where the Dockerfiles put it: Python in /usr/local, packages and trimtab in /opt/venv. No path of this
machine matters there: libraries lie where the loader looks first, and Python finds itself by where it stands.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from layer import Layer

ROOT = Path(__file__).resolve().parents[1]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
STDLIB = f"usr/local/lib/{VERSION}"
SITE = f"opt/venv/lib/{VERSION}/site-packages"
USER = 65532
# KFP starts a step by a line of shell; the others are for whoever looks into a pod.
PROGRAMS = ("sh", "cat", "cp", "env", "head", "id", "ls", "mkdir", "mktemp", "rm", "sleep", "tail")
WHEELS_NEED = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "librt.so.1", "libpthread.so.0", "libdl.so.2")  # PEP 600
NOT_RUN = {"test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages", "__pycache__"}
TESTED = ("numpy", "scipy", "sklearn", "pandas", "pyarrow")  # whose own tests would be a fifth of the image
HEADERS = (".h", ".hpp", ".pxd", ".pyx", ".a", ".pyi", ".pyc", ".pyo")


def base(layer: Layer) -> None:
    """Python, its libraries, a shell, users."""
    layer.data("etc/passwd", b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")
    layer.data("etc/group", b"root:x:0:\nnonroot:x:65532:\n")
    layer.data("etc/nsswitch.conf", b"hosts: files dns\n")
    layer.folder("tmp", 0o1777)
    for folder in ("var/lib/trimtab", "var/lib/trimtab/log", "var/cache/trimtab"):
        layer.folder(folder, owner=USER)
    python = Path(sys.base_prefix, "bin", VERSION)
    programs = [Path(found) for name in PROGRAMS if (found := _which(name))]
    for program in programs:
        layer.copy(program, f"bin/{program.name}", 0o755)
    layer.copy(python, f"usr/local/bin/{VERSION}", 0o755)
    stdlib = Path(sysconfig.get_path("stdlib"))
    for file in _files(stdlib, NOT_RUN):
        _python_file(layer, file, f"{STDLIB}/{file.relative_to(stdlib).as_posix()}")
    libraries(layer, [python, *programs, *sorted((stdlib / "lib-dynload").glob("*.so"))])
    layer.data("opt/venv/pyvenv.cfg", b"home = /usr/local/bin\ninclude-system-site-packages = false\n")
    for name in ("python", "python3", VERSION):
        layer.link(f"opt/venv/bin/{name}", f"/usr/local/bin/{VERSION}")
        layer.link(f"usr/local/bin/{name}", VERSION)


def libraries(layer: Layer, programs: Iterable[Path]) -> None:
    """What the loader needs for them, and for wheels, in a folder where it looks by itself."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    found = dict(re.findall(r"^\s+(\S+) => (/\S+) ", said, re.MULTILINE))
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in WHEELS_NEED:
        if match := re.search(rf"^\s+{re.escape(name)} \(libc6,[^)]*\) => (\S+)$", known, re.MULTILINE):
            found.setdefault(name, match[1])
    folder = os.path.dirname(found["libc.so.6"])
    for name, path in sorted(found.items()):
        layer.copy(Path(path), f"{folder}/{name}", 0o755)
    for loader in sorted(set(re.findall(r"^\s+(/\S*ld-linux\S*) \(", said, re.MULTILINE))):
        layer.copy(Path(loader), loader, 0o755)


def packages(layer: Layer, site: Path, requirements: Path, without: Path | None = None) -> None:
    """The distributions that a file of pins names, from an environment's site-packages; not those of another file."""
    names = _names(requirements) - (_names(without) if without else set())
    found = {_normal(each.metadata["Name"]): each for each in importlib.metadata.distributions(path=[str(site)])}
    if missing := sorted(names - found.keys()):
        raise SystemExit(f"{site} lacks {', '.join(missing)} of {requirements.name}\nhint: make its environment anew")
    for name in sorted(names):
        for entry in sorted(found[name].files or (), key=str):
            path = entry.as_posix()
            if not path.startswith("..") and not path.endswith(HEADERS) and not _is_test(path):
                _python_file(layer, site / path, f"{SITE}/{path}")


def trimtab(layer: Layer, folders: Iterable[str], script: bool) -> None:
    """trimtab itself, without its tests; with `script` as an installed distribution."""
    _python_file(layer, ROOT / "trimtab" / "__init__.py", f"{SITE}/trimtab/__init__.py")
    for folder in folders:
        source = (ROOT / "trimtab" / folder).resolve()
        for file in _files(source, {"__pycache__"}):
            if not file.name.startswith(("test_", "conftest")):
                target = f"{SITE}/trimtab/{folder}/{file.relative_to(source).as_posix()}"
                _python_file(layer, file, target)
    if script:
        _installed(layer)


def _installed(layer: Layer) -> None:
    """What makes it a distribution: its version, its commands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = f"{SITE}/trimtab-{project['version']}.dist-info"
    layer.data(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: trimtab\nVersion: {project['version']}\n".encode())
    for name, place in project["scripts"].items():
        module, function = place.split(":")
        start = f"#!/opt/venv/bin/python\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        layer.data(f"opt/venv/bin/{name}", start.encode(), 0o755)


def _python_file(layer: Layer, source: Path, target: str) -> None:
    """The file, and for Python its bytecode, which Python takes without asking for the source's time."""
    if source.name.startswith("_sysconfigdata_"):
        layer.data(target, source.read_text().replace(sys.base_prefix, "/usr/local").encode())
        return
    layer.copy(source, target)
    if target.endswith(".py"):
        code = _bytecode(source, target)
        if code:
            folder, name = os.path.split(target)
            layer.data(f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc", code)


def _bytecode(source: Path, target: str) -> bytes:
    """
    As `py_compile` writes it with UNCHECKED_HASH. What the environment has compiled is used again: half a minute less.

    The path in it is put right by Python when it imports.
    """
    text = source.read_bytes()
    cached = Path(importlib.util.cache_from_source(str(source)))
    info = source.stat()
    valid = b"\0\0\0\0" + (int(info.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    ours = not source.is_relative_to(ROOT) or ".venv" in source.relative_to(ROOT).parts[0]
    body = b""
    if ours and cached.is_file():
        found = cached.read_bytes()
        body = found[16:] if found[:16] == importlib.util.MAGIC_NUMBER + valid else b""
    if not body:
        import marshal

        try:
            body = marshal.dumps(compile(text, f"/{target}", "exec", dont_inherit=True))
        except (SyntaxError, ValueError):
            return b""  # templates and files for other Pythons; nobody imports them
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(text) + body


def _files(folder: Path, left_out: set[str]) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("config-"))
        for name in sorted(names):
            if not name.endswith(HEADERS):
                yield Path(here, name)


def _is_test(path: str) -> bool:
    parts = path.split("/")
    return parts[0] in TESTED and ("tests" in parts or parts[1] == "include")


def _names(requirements: Path) -> set[str]:
    return {_normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", requirements.read_text(), re.M)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _which(name: str) -> str:
    import shutil

    return shutil.which(name, path="/bin:/usr/bin") or ""
