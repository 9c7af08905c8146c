"""Sessions in a documentation page: what is typed, and the lines that follow it."""

from __future__ import annotations

import re
from pathlib import Path

Session = list[tuple[str, list[str]]]


def sessions(page: Path, heading: str) -> list[Session]:
    """Each console block below the heading; a comment behind two spaces and a # is no part of the command."""
    level = heading.split()[0]
    text = page.read_text().partition(f"{heading}\n")[2].partition(f"\n{level} ")[0]
    found = [_session(block) for block in re.findall(r"```console\n(.*?)```", text, re.S)]
    assert found, f"no console block below {heading} in {page.name}"
    return found


def _session(block: str) -> Session:
    found: Session = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:].partition("  #")[0].strip(), []))
        else:
            found[-1][1].append(line)
    return found
