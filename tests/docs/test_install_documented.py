"""What an installation's first commands are, in each page that tells them; a node's tests run them."""

from __future__ import annotations

from pathlib import Path

from console import sessions

ROOT = Path(__file__).parents[2]


def test_the_readme_and_its_page_install_by_the_same_commands() -> None:
    short = sessions(ROOT / "README.md", "## Run it on Kubernetes")[0]
    long = sessions(ROOT / "docs" / "kubernetes.md", "## Install")[0]
    assert [command for command, _ in short] == [command for command, _ in long]
