"""
What is written from the code and never by hand: docs/reference, and the custom resources' definitions.

`python -m trimtab.app.generated` writes it again, with `--check` it exits 1 naming what is stale.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from math import isinf
from pathlib import Path
from typing import Any

import click

from trimtab.app import spec_reference
from trimtab.app.cli import COMMANDS, cli
from trimtab.core.metrics import METRICS
from trimtab.core.spec.crd import SHARED_STATUS, definitions
from trimtab.core.spec.json_schema import json_schema
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.model_rollout import ModelRollout
from trimtab.core.spec.status import ROLLOUT_STATUS

ROOT = Path(__file__).parents[2]
REFERENCE = Path("docs", "reference")
CRDS = Path("manifests", "crds")
WIDTH = 100  # of help, whatever terminal it is generated in
METRICS_INTRODUCTION = """\
Generated from `trimtab/core/metrics.py`. Names as in scikit-learn's `scoring`, without `neg_`, and
`weighted_absolute_percentage_error`: the sum of absolute errors over the sum of absolute targets. `floor`, `margin` and
`worseThan` are read in the metric's own direction."""
CLI_INTRODUCTION = """\
Generated from the commands' own help. Exit codes: 0 done, 1 something failed that may succeed later, 2 the input must
change, 130 stopped by Ctrl-C. Errors go to standard error, with the next move."""


def render(missing: list[str] | None = None) -> dict[Path, str]:
    """
    Every generated file's text by its path below the root of the source tree.

    Args:
        missing: Takes the names of commands that the list has and whose module does not exist.
    """
    schema = json_schema(ContinuousModel)
    return {
        REFERENCE / "continuousmodel.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        REFERENCE / "spec.md": spec_reference.of_model(schema),
        REFERENCE / "modelrollout.md": spec_reference.of_rollout(
            json_schema(ModelRollout), {**ROLLOUT_STATUS, **SHARED_STATUS}
        ),
        REFERENCE / "metrics.md": _metrics(),
        REFERENCE / "cli.md": _cli(missing if missing is not None else []),
        **{CRDS / f"{plural}.yaml": _manifest(definition) for plural, definition in definitions().items()},
    }


def _manifest(definition: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=WIDTH)
    return f"# Generated from trimtab/core/spec: `make generated`.\n{text}"


def _metrics() -> str:
    lines = [
        "# Metrics",
        "",
        METRICS_INTRODUCTION,
        "",
        "| metric | for | better | range | needs of the estimator |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, metric in METRICS.items():
        low = "-∞" if isinf(metric.low) else f"{metric.low:g}"
        high = "∞" if isinf(metric.high) else f"{metric.high:g}"
        needs = "predict"
        if metric.needs == "score":
            needs = "predict_proba" if metric.probability else "predict_proba or decision_function"
        direction = "higher" if metric.greater_is_better else "lower"
        lines.append(f"| `{name}` | {metric.task} | {direction} | {low} to {high} | {needs} |")
    return "\n".join(lines) + "\n"


def _cli(missing: list[str]) -> str:
    parts = [
        "# Commands",
        "",
        CLI_INTRODUCTION,
        "",
        "```",
        cli.get_help(_context("trimtab", None)),
        "```",
    ]
    for name, (place, _) in COMMANDS.items():
        module, attribute = place.split(":")
        try:
            command = getattr(importlib.import_module(f"trimtab.app.cli.{module}"), attribute)
        except ModuleNotFoundError as error:
            if error.name != f"trimtab.app.cli.{module}":
                raise
            missing.append(name)
            continue
        for title, text in _helps(f"trimtab {name}", command, None):
            parts += ["", f"## {title}", "", "```", text, "```"]
    return "\n".join(parts) + "\n"


def _helps(title: str, command: click.Command, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """The help of a command and of those below it."""
    context = _context(title.rpartition(" ")[2] if parent else title, parent)
    yield title, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _helps(f"{title} {name}", inner, context)


def _context(name: str, parent: click.Context | None) -> click.Context:
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
    return click.Context(cli, parent=parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, **settings)


def main(arguments: list[str]) -> int:
    """Write or check the files; the exit code."""
    missing: list[str] = []
    texts = render(missing)
    for command in missing:
        click.echo(f"trimtab.app.cli has {command} in COMMANDS and no module for it", err=True)
    if "--check" not in arguments:
        for name, text in texts.items():
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text, encoding="utf-8")
        return 0
    stale = [
        name
        for name, text in texts.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        click.echo(f"{name} is stale\nhint: run `make generated`, and commit it", err=True)
    return 1 if stale or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
