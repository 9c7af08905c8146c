"""Every command is documented, its help ends in a line that can be pasted, and `--help` is instant."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trimtab.app.cli import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAVY = ("numpy", "polars", "pandas", "sklearn", "boto3", "kfp", "pydantic", "fastapi", "altair", "pyarrow", "httpx")


def all_commands() -> Iterator[tuple[str, ...]]:
    """Commands and their subcommands, as they are typed."""
    context = click.Context(cli)
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in command.list_commands(context))


def help_of(words: tuple[str, ...]) -> list[str]:
    shown = CliRunner().invoke(cli, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
    return [line.rstrip() for line in shown.output.splitlines() if line.strip()]


@pytest.mark.parametrize("words", list(all_commands()), ids=" ".join)
def test_a_command_has_a_section_with_its_options(words: tuple[str, ...]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    title = f"\n## trimtab {' '.join(words)}\n"
    assert page.count(title) == 1
    section = page.split(title)[1].split("\n## ")[0]
    command: click.Command | None = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    assert [name for name in options if name not in section] == []


@pytest.mark.parametrize("words", list(all_commands()), ids=" ".join)
def test_help_ends_in_a_line_that_can_be_pasted(words: tuple[str, ...]) -> None:
    last = help_of(words)[-1]
    _, found, example = last.partition("trimtab ")
    assert found, last
    pasted = shlex.split(example)
    assert tuple(pasted[: len(words)]) == words, last


def test_the_first_help_names_every_command_and_where_to_start() -> None:
    shown = help_of(())
    listed = {line.split()[0] for line in shown if line.startswith("  ")}
    assert set(COMMANDS) <= listed
    assert shown[-1].strip() == "Start here:  trimtab demo"


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_the_first_help_imports_nothing_heavy(words: list[str]) -> None:
    program = """
import sys
from trimtab.app.cli import main
main(sys.argv[1:])
print(sorted(set(sys.modules) & set(HEAVY)))
""".replace("HEAVY", repr(HEAVY))
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
