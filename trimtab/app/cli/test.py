"""`trimtab test`: a recipe from fit to served prediction on a sample; the job for a user's CI."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

COLOURS = {"ok": "green", "FAILED": "red"}


@click.command(epilog="Example:  trimtab test -f model.yaml --data data.csv")
@click.option("-f", "--file", required=True, metavar="SPEC", help="The spec's file.")
@click.option("--data", "sample", type=click.Path(path_type=Path), metavar="FILE", help="Rows to try it on.")
@click.option(
    "--rows", type=click.IntRange(min=20, max=100_000), default=2000, show_default=True, help="At most so many rows."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document: ok, and what was tried.")
def test(file: str, sample: Path | None, rows: int, as_json: bool) -> None:
    """
    Fit, save, load where it will serve, and predict, on a sample.

    Without --data the sample is drawn from the schema. Exit code 1 if something fails, 2 if spec or file are wrong.
    """
    try:
        ok, lines = _test(file, sample, rows, as_json)
    except Invalid as error:
        if not as_json:
            raise
        print_json({"ok": False, "problems": [{"message": error.message, "hint": error.hint}]})
        sys.exit(error.exit_code)
    if as_json:
        print_json({"ok": ok, "steps": lines})
    if not ok:
        sys.exit(1)


def _test(file: str, sample: Path | None, rows: int, quiet: bool) -> tuple[bool, list[dict[str, str]]]:
    """Whether all went well, and each line; told as it comes, unless quiet. Raises Invalid."""
    from trimtab.adapters import environment, estimators, rehearsal, s3, specs

    text, model = specs.read(specs.read_file(file), s3.connect, file)
    folder = str(Path(file).parent)
    estimators.check(model, folder)
    recipe = rehearsal.Recipe(model, text, folder, environment.trusted_types())
    lines = []
    for line in rehearsal.rehearse(recipe, *rehearsal.sample(recipe, sample, rows)):
        lines.append(line)
        if not quiet:
            click.echo(f"{click.style(f'{line.level:8}', fg=COLOURS[line.level])}{line.name:13}{line.found}")
            if line.hint:
                click.echo(f"{'':21}hint: {line.hint}")
    return all(line.level != "FAILED" for line in lines), [asdict(line) for line in lines]
