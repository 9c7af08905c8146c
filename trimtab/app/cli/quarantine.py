"""`trimtab quarantine`: files and rows that were set aside, why, and letting a file in after all."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from trimtab.adapters.state import State
    from trimtab.core.records import IntakeOutcome, LedgerEntry
    from trimtab.core.spec.model import ContinuousModel

SHORT = 12  # hex digits of an entry's id that people see and may type
SHOWN_ROWS = 20

model_option = click.option("-m", "--model", metavar="NAME", help="Of which model, where there are several.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


@click.group(epilog="Start here:  trimtab quarantine list")
def quarantine() -> None:
    """List, show or release what was set aside."""


@quarantine.command("list", epilog="Example:  trimtab quarantine list --json")
@model_option
@json_option
def list_(model: str | None, as_json: bool) -> None:
    """
    List what was set aside.

    Whole files, and files that were let in without some of their rows.
    """
    from trimtab.app.opening import Platform

    state = Platform.find().state(model)
    entries = state.ledger.entries()
    found = [(entries[o.entry], o) for o in state.ledger.outcomes().values() if o.entry in entries and set_aside(o)]
    found.sort(key=lambda pair: pair[0].modified)
    if as_json:
        print_json([as_json_value(entry, outcome) for entry, outcome in found])
        return
    if not found:
        click.echo(f"nothing of {state.model} is in quarantine")
        return
    from trimtab.app.cli.version_page import console, table

    made = table("entry", "object", "what", "rows", "why", right=["rows"])
    for entry, outcome in found:
        file = outcome.state == "quarantined"
        rows = outcome.partition.quarantined if outcome.partition else 0
        made.add_row(
            entry.id[:SHORT],
            entry.key,
            "the file" if file else "rows of it",
            f"{rows:,}" if rows else "",
            outcome.kind if file else reasons_of(outcome),
        )
    out = console()
    out.print(made)
    out.print(f"\nmore of one: trimtab quarantine show {found[-1][0].id[:SHORT]}")


@quarantine.command("show", epilog="Example:  trimtab quarantine show 3f9c2a")
@click.argument("entry")
@model_option
@click.option("--csv", "as_csv", is_flag=True, help="Print every row that was set aside, with its reasons, as CSV.")
@json_option
def show(entry: str, model: str | None, as_csv: bool, as_json: bool) -> None:
    """
    Show why ENTRY was set aside.

    With the first of its rows, each with its reasons. ENTRY is an id as `list` shows it, its first digits, or the
    object's key.
    """
    from trimtab.app.opening import Platform

    state = Platform.find().state(model)
    seen, outcome = find(state, entry)
    rows = rows_of(state, outcome)
    if as_csv:
        write_csv(rows)
    elif as_json:
        print_json(
            as_json_value(seen, outcome)
            | {"setAside": rows.head(SHOWN_ROWS).to_dicts(), "validation": outcome.validation}
        )
    else:
        _page(seen, outcome, rows)


@quarantine.command("release", epilog="Example:  trimtab quarantine release 3f9c2a -f model.yaml")
@click.argument("entry")
@model_option
@click.option(
    "-f", "--file", "spec", type=click.Path(path_type=Path), help="The spec to read it by. Default: the last run's."
)
@json_option
def release(entry: str, model: str | None, spec: Path | None, as_json: bool) -> None:
    """
    Let a quarantined file in after all.

    Its valid rows become part of the next training; rows that break the schema stay set aside.
    """
    from trimtab.adapters import intake, models
    from trimtab.app.chronicle import intake_evidence, summarize_intake
    from trimtab.app.opening import Platform

    platform = Platform.find()
    state = platform.state(model)
    seen, _ = find(state, entry)
    read_by = spec_of(state, platform, spec)
    now = platform.policy_time(state)
    environment = platform.environment
    champion = models.load_standing_rival(state, environment.trusted_types, environment.spec_folder)
    outcome = intake.release(state, platform.buckets.bucket(seen.bucket), seen, read_by, champion, now)
    evidence = intake_evidence(seen, outcome)
    # Under the same id as the loop would tell it, which may be quicker.
    state.journal.tell(f"ledger/{seen.id}/{outcome.state}", "released", summarize_intake(seen, outcome), evidence, now)
    if as_json:
        print_json(as_json_value(seen, outcome))
        return
    rows = outcome.partition.rows if outcome.partition else 0
    click.echo(f"{seen.uri} is released: {rows:,} rows join the next training")


def set_aside(outcome: IntakeOutcome) -> bool:
    """Whether the file, or some of its rows, stand in quarantine."""
    return outcome.state == "quarantined" or bool(outcome.partition and outcome.partition.quarantined)


def find(state: State, text: str) -> tuple[LedgerEntry, IntakeOutcome]:
    """
    The one entry that an id, its beginning, or an object's key names, with its outcome.

    Raises:
        NotFound: If there is none, or it holds nothing that was set aside.
        Invalid: If there are several.
    """
    entries = state.ledger.entries()
    found = [entry for entry in entries.values() if entry.id.startswith(text) or entry.key == text]
    if len(found) > 1:
        ids = ", ".join(entry.id[:SHORT] for entry in found[:5])
        raise Invalid(f"{text!r} names {len(found)} ledger entries of {state.model}", f"name one by its id: {ids}")
    outcome = state.ledger.outcome(found[0].id) if found else None
    if outcome is None or not set_aside(outcome):
        known = f"{found[0].uri} is {outcome.state if outcome else 'not yet taken in'}" if found else "found no entry"
        raise NotFound(f"{known}; {text!r} names nothing in the quarantine of {state.model}", "trimtab quarantine list")
    return found[0], outcome


def rows_of(state: State, outcome: IntakeOutcome) -> pl.DataFrame:
    """The rows that were set aside, with `_row`, `_reasons` and `_raw`; no row where none was kept."""
    import polars as pl

    path = state.data.quarantined(outcome.partition.id) if outcome.partition else None
    return pl.DataFrame() if path is None else pl.read_parquet(path, glob=False)


def reasons_of(outcome: IntakeOutcome) -> str:
    """What most of the rows broke."""
    reasons = sorted(outcome.validation.get("reasons", []), key=lambda reason: -int(reason["rows"]))
    return "; ".join(f"{reason['column']}: {reason['reason']}" for reason in reasons[:2])


def spec_of(state: State, platform: Any, path: Path | None) -> ContinuousModel:
    """The spec from its file, else the one that the newest decision was made by."""
    from trimtab.adapters import specs

    if path is not None:
        _, model = specs.read(specs.read_file(str(path)), lambda: platform.buckets, str(path))
        if model.name != state.model:
            raise Invalid(f"{path} describes {model.name}, and the entry belongs to {state.model}")
        return model
    decisions = state.decisions.all()
    if not decisions:
        raise Invalid(f"{state.model} was never trained, so no spec is known here", "name its spec with -f model.yaml")
    return specs.read(state.data.spec(decisions[-1].spec), lambda: platform.buckets, "the last run's spec")[1]


def as_json_value(entry: LedgerEntry, outcome: IntakeOutcome) -> dict[str, Any]:
    """The file and why it, or part of it, is set aside."""
    told = outcome.model_dump(mode="json", by_alias=True, include={"state", "kind", "reason", "hint", "partition"})
    return {"entry": entry.id, "uri": entry.uri, "modified": entry.modified.isoformat(), **told}


def write_csv(rows: pl.DataFrame) -> None:
    """All the rows, with their reasons in one cell."""
    writer = csv.writer(sys.stdout)
    writer.writerow(rows.columns)
    writer.writerows([_cell(found) for found in row] for row in rows.iter_rows())


def _page(entry: LedgerEntry, outcome: IntakeOutcome, rows: pl.DataFrame) -> None:
    from rich.markup import escape

    from trimtab.app.cli.version_page import console, table

    out = console()
    out.print(f"[bold]{escape(entry.uri)}[/]  {entry.size:,} bytes, {entry.modified:%Y-%m-%d %H:%M:%S} UTC")
    if outcome.state == "quarantined":
        out.print(escape(f"the file is set aside ({outcome.kind}): {outcome.reason}"))
    for reason in outcome.validation.get("reasons", []):
        count = int(reason["rows"])
        out.print(escape(f"  {reason['column']}: {reason['reason']} ({count:,} row{'s' * (count != 1)})"))
    if outcome.hint:
        out.print(escape(f"hint: {outcome.hint}"))
    if rows.height:
        out.print(f"\n[dim]the first {min(SHOWN_ROWS, rows.height)} of {rows.height:,} rows that were set aside[/]")
        made = table("row", "reasons", "cells", right=["row"])
        for row in rows.head(SHOWN_ROWS).to_dicts():
            made.add_row(str(row.get("_row", "")), escape(_cell(row.get("_reasons"))), escape(_cells(row)))
        out.print(made)
        out.print(f"\nall of them: trimtab quarantine show {entry.id[:SHORT]} --csv")
    if outcome.state == "quarantined" and outcome.validation.get("valid"):
        out.print(f"let it in after all: trimtab quarantine release {entry.id[:SHORT]}")


def _cell(found: Any) -> str:
    return "; ".join(map(str, found)) if isinstance(found, list) else "" if found is None else str(found)


def _cells(row: Mapping[str, Any]) -> str:
    """A row's cells in one line; the raw text where it could not be split into columns."""
    named = [f"{name}={value}" for name, value in row.items() if not name.startswith("_") and value is not None]
    return ", ".join(named) or _cell(row.get("_raw"))
