"""`trimtab init` and `trimtab check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid
from trimtab.core.wording import counted

if TYPE_CHECKING:
    from trimtab.core.ports import Buckets
    from trimtab.core.spec.document import Document


@click.command(epilog="Example:  trimtab init data.csv --target demand")
@click.argument("file")
@click.option("--target", metavar="COLUMN", help="Column to predict; without it, the candidates are listed.")
@click.option("--timestamp", metavar="COLUMN", help="Column with the event time; guessed by name and type otherwise.")
@click.option("--name", metavar="NAME", help="Name of the model; otherwise from the file's name.")
@click.option("-o", "--output", default="model.yaml", show_default=True, help="Where to write the spec; - to print it.")
@click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
def init(file: str, target: str | None, timestamp: str | None, name: str | None, output: str, force: bool) -> None:
    """Write a commented model.yaml from a csv, parquet or jsonl FILE: types, categories, ranges, settings."""
    from trimtab.app import draft, draft_text
    from trimtab.core.spec import load

    place = Path(output)
    if output != "-" and place.exists() and not force:
        raise Invalid(f"{output} exists", f"keep it, write elsewhere with `-o other.yaml`, or: {_again('--force')}")
    if name is not None and draft_text.name_of(name) != name:
        raise Invalid(
            f"--name: found {name!r}; a name is a-z, 0-9 and inner hyphens with a letter, at most 53 characters",
            f"take --name {draft_text.name_of(name)}",
        )
    format, frame = draft.read(file)
    drafted = draft.look(frame, format, target, timestamp)
    text = draft_text.write(
        drafted, name or draft_text.name_of(Path(file).name.split(".")[0]), "model.yaml" if output == "-" else output
    )
    model = load(text, output)
    if output == "-":
        click.echo(text, nl=False)
        return
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Invalid(f"{output} cannot be written: {error.strerror}", "name another place with -o") from None
    data = model.spec.data
    column = data.described[data.target]
    click.echo(
        f"wrote {output}: {counted(len(data.features), 'feature')}, target {data.target} ({column.type}, {data.task})"
    )
    for seen in drafted.columns:
        if seen.excluded:
            click.echo(f"  excluded {seen.name}: {seen.excluded}")
    for leak in drafted.leaks:
        click.echo(f"  look at {leak}: it follows {data.target}; exclude it if it is known only afterwards")
    click.echo(f"next: trimtab check -f {output}")


@click.command(epilog="Example:  trimtab check -f model.yaml")
@click.option("-f", "--file", required=True, metavar="SPEC", help="The spec's file; - for standard input.")
@click.option(
    "--requests-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Traffic to expect, for the rollout's times. Default: as the prediction log has it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document: ok, figures or problems.")
def check(file: str, requests_per_hour: float | None, as_json: bool) -> None:
    """
    Check a spec: every field, contradictions between them, the estimator and its parameters.

    Of a rollout it shows what each step asks for: requests, time, and how soon it would find harm. SPEC may be a
    ModelRollout too.
    """
    from trimtab.app.cli import expectation
    from trimtab.core.spec.problems import InvalidSpec

    try:
        found = _check(file, requests_per_hour)
    except Invalid as error:
        if not as_json:
            raise
        known = error.problems if isinstance(error, InvalidSpec) else ()
        problems = [
            {"path": one.path, "line": one.line, "message": one.message, "hint": one.hint} for one in known
        ] or [{"path": "", "line": 0, "message": error.message, "hint": error.hint}]
        print_json({"ok": False, "problems": problems})
        sys.exit(error.exit_code)
    if as_json:
        print_json({"ok": True, **found})
        return
    if "challenger" in found:
        click.echo(
            f"OK {found['name']}: {found['strategy']} of {found['challenger']} beside {found['champion']} on "
            f"{found['seldonDeployment']}, {counted(found['steps'], 'step')}"
        )
        click.echo(f"next: kubectl apply -f {file}")
        return
    click.echo(
        f"OK {found['name']}: {counted(found['features'], 'feature')}, target {found['target']} ({found['task']}), "
        f"{found['estimator']}, judged by {found['primary']}"
    )
    for line in expectation.lines(found["rollout"]) if found["rollout"] else ():
        click.echo(line)
    for path, hint in found["later"].items():
        click.echo(f"  accepted, refused at use: {path}\n    hint: {hint}")
    following = f"trimtab up -f {file}" if not found["later"] else f"mend the above, then trimtab up -f {file}"
    click.echo(f"next: {following}" if file != "-" else "next: save it as model.yaml, then trimtab up -f model.yaml")


def _check(file: str, requests_per_hour: float | None) -> dict[str, Any]:
    """What a sound spec holds. Raises Invalid."""
    from trimtab.adapters import estimators, specs
    from trimtab.app.cli.expectation import expectation
    from trimtab.core.spec import document
    from trimtab.core.spec.later import used_later

    text = _standard_input() if file == "-" else specs.read_file(file)
    source = "standard input" if file == "-" else file
    written = document.read(text, source)
    if isinstance(written.value, dict) and written.value.get("kind") == "ModelRollout":
        return _check_rollout(written, source)
    _, model = specs.read(text, _connect, source)
    folder = "" if file == "-" else str(Path(file).parent)
    estimators.check(model, folder)
    spec = model.spec
    return {
        "name": model.name,
        "features": len(spec.data.features),
        "target": spec.data.target,
        "task": spec.data.task,
        "estimator": spec.training.estimator,
        "primary": spec.evaluation.primary,
        "metrics": list(spec.evaluation.reported),
        "rollout": expectation(model, requests_per_hour),
        "later": {str(later): later.hint for later in used_later(model)},
    }


def _check_rollout(written: Document, source: str) -> dict[str, Any]:
    """What a sound ModelRollout holds. Raises Invalid."""
    from trimtab.core.spec.parse import rollout_from_document

    found = rollout_from_document(written, source)
    spec, free = found.spec, found.spec.target.challenger
    return {
        "name": found.name,
        "strategy": spec.strategy,
        "champion": spec.target.champion if free else f"v{spec.champion}",
        "challenger": free.predictor.name if free else f"v{spec.version}",
        "seldonDeployment": spec.target.seldon_deployment,
        "steps": len(spec.steps),
    }


def _standard_input() -> str:
    from trimtab.adapters import specs
    from trimtab.core.spec.document import MAX_BYTES

    return specs.decode(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")


def _connect() -> Buckets:
    from trimtab.adapters import s3

    return s3.connect()


def _again(option: str) -> str:
    """The command as it was typed, with one more option."""
    return " ".join(["trimtab", *sys.argv[1:], option])
