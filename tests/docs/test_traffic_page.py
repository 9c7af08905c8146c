"""The page on traffic can be pasted from: its YAML is a valid rollout, its commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from trimtab.app.cli import cli
from trimtab.app.cli.expectation import expectation, lines
from trimtab.core.spec import load
from trimtab.core.spec.later import used_later
from trimtab.core.spec.rollout import Analysis, Rollout

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "traffic.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "examples" / "bikeshare" / "model.yaml").read_text(encoding="utf-8")
COMMANDS = sorted(
    set(re.findall(r"^\$ (trimtab .*?)(?:  #.*)?$", PAGE, re.MULTILINE)) | set(re.findall(r"`(trimtab [^`]+)`", PAGE))
)


def test_the_rollout_is_one_that_this_version_runs() -> None:
    section = re.search(r"```yaml\n(rollout:.*?)```", PAGE, re.DOTALL)
    assert section is not None
    indented = "".join(f"  {line}\n" for line in section[1].splitlines())
    assert EXAMPLE.count("  rollout: {strategy: immediate}\n") == 1
    model = load(EXAMPLE.replace("  rollout: {strategy: immediate}\n", indented))
    assert (model.spec.rollout.strategy, len(model.spec.rollout.steps)) == ("canary", 4)
    assert used_later(model) == ()
    expected = lines(expectation(model, 7200) or {})
    assert "\n".join(expected) in PAGE


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one_with_such_options_and_arguments(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, line
    context = click.Context(command, info_name=name, resilient_parsing=True)
    _, left, _ = command.make_parser(context).parse_args(list(words))
    assert left == [], line


def test_every_field_of_a_rollout_is_told_of() -> None:
    names = [field.alias or name for section in (Rollout, Analysis) for name, field in section.model_fields.items()]
    assert len(names) > 10
    assert [name for name in names if name not in ("strategy",) and name not in PAGE] == []
