"""`trimtab predict`: batch scoring of files by a registered version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

    from trimtab.adapters.scoring import ScoredFile

FORMATS = (".csv", ".jsonl", ".parquet")
SHOWN = 3  # reasons that the last line names


@click.command(epilog="Example:  trimtab predict rows.csv -m flights@champion -o said.csv")
@click.argument("files", nargs=-1, required=True)
@click.option("-m", "--model", help="NAME@champion, NAME@challenger or NAME/vN. [default: the only model's champion]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A .csv, .jsonl or .parquet file."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON; needs -o.")
def predict(files: tuple[str, ...], model: str | None, output: Path | None, as_json: bool) -> None:
    """
    Predict the rows of FILES: csv, jsonl or parquet, local or s3://.

    Rows are checked by the schema that the version was trained by. One that it does not allow gets no prediction, and
    the column problem says why. Without -o, csv on standard output.
    """
    from trimtab.adapters.scoring import predict_files
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference

    _check_output(files, output, as_json)
    platform = Platform.find()
    reference = parse_reference(model or f"{platform.state().model}@champion")
    state = platform.state(reference.name)
    version = state.registry.resolve(reference)
    environment = platform.environment
    scored = list(
        predict_files(state, platform.buckets, version, files, environment.trusted_types, environment.spec_folder)
    )
    predicted, rows = sum(each.predicted for each in scored), sum(each.frame.height for each in scored)
    if not predicted:
        raise Invalid(f"none of {rows:,} rows could be predicted: {_reasons(scored)}", "mend the rows")
    _write(_together(scored), output)
    name = f"{state.model}/v{version.number}"
    if as_json:
        told = [
            {"file": s.file, "rows": s.frame.height, "predicted": s.predicted, "problems": s.problems()} for s in scored
        ]
        print_json({"version": name, "output": str(output), "files": told})
        return
    aside = f"; {rows - predicted:,} not: {_reasons(scored)}" if predicted < rows else ""
    click.echo(f"{name} predicted {predicted:,} of {rows:,} rows{aside}", err=True)


def _check_output(files: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """What can be known before anything is read."""
    if as_json and output is None:
        raise Invalid("--json says what was written, and without -o the predictions are printed", "add -o FILE")
    if output is None:
        return
    if output.suffix not in FORMATS:
        raise Invalid(f"found -o {output}; it must end in {', '.join(FORMATS)}")
    if any(not path.startswith("s3://") and Path(path).resolve() == output.resolve() for path in files):
        raise Invalid(f"-o {output} is one of the files that are read", "name another file with -o")


def _together(scored: list[ScoredFile]) -> pl.DataFrame:
    """All files in one table; with several, `file` says which."""
    import polars as pl

    if len(scored) == 1:
        return scored[0].frame
    frames = [each.frame.select(pl.lit(each.file).alias("file"), pl.all()) for each in scored]
    return pl.concat(frames, how="diagonal_relaxed")


def _write(frame: pl.DataFrame, output: Path | None) -> None:
    if output is None:
        click.echo(frame.write_csv(), nl=False)
        return
    part = output.with_name(f".{output.name}.part")
    try:
        if output.suffix == ".csv":
            frame.write_csv(part)
        elif output.suffix == ".jsonl":
            frame.write_ndjson(part)
        else:
            frame.write_parquet(part)
        part.replace(output)
    except OSError as error:
        raise Invalid(f"cannot write {output}: {error}", "name another file with -o") from error
    finally:
        part.unlink(missing_ok=True)


def _reasons(scored: list[ScoredFile]) -> str:
    counted: dict[str, int] = {}
    for each in scored:
        for reason, rows in each.problems().items():
            counted[reason] = counted.get(reason, 0) + rows
    worst = sorted(counted.items(), key=lambda found: -found[1])
    more = f" and {len(worst) - SHOWN} other reasons" if len(worst) > SHOWN else ""
    return "; ".join(f"{reason} ({rows:,} rows)" for reason, rows in worst[:SHOWN]) + more
