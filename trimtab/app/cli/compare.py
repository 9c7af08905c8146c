"""`trimtab compare`: two versions on the same labelled rows, paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

if TYPE_CHECKING:
    from trimtab.adapters.comparing import Labelled
    from trimtab.core.side_by_side import SideBySide


@click.command(epilog="Example:  trimtab compare flights/v6 flights/v7")
@click.argument("v1")
@click.argument("v2")
@click.argument("files", nargs=-1)
@click.option("--log", "with_log", is_flag=True, help="With FILES: take the log's labelled rows too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def compare(v1: str, v2: str, files: tuple[str, ...], with_log: bool, as_json: bool) -> None:
    """
    Compare two versions on the same labelled rows, which neither has learned.

    V1 and V2 read NAME/vN, NAME@champion or NAME@challenger. The rows are those of the prediction log whose labels are
    mature, or those of FILES: csv, jsonl or parquet with the spec's columns, local or s3://. Both versions are scored
    on each row; intervals are of a paired bootstrap over blocks of event time.
    """
    from trimtab.adapters.comparing import compare_on, from_files, from_log
    from trimtab.adapters.models import load_version
    from trimtab.adapters.scoring import model_of
    from trimtab.app.opening import Platform
    from trimtab.core.references import parse_reference

    first, second = parse_reference(v1), parse_reference(v2)
    if first.name != second.name:
        raise Invalid(f"found versions of {first.name} and of {second.name}; they must be of one model")
    platform = Platform.find()
    state, environment = platform.state(first.name), platform.environment
    versions = state.registry.resolve(first), state.registry.resolve(second)
    if versions[0].number == versions[1].number:
        raise Invalid(f"{first} and {second} are both v{versions[0].number}", f"`trimtab show {first.name}` lists all")
    trusted, folder = environment.trusted_types, environment.spec_folder
    pair = load_version(state, versions[0], trusted, folder), load_version(state, versions[1], trusted, folder)
    model = model_of(state, platform.buckets, max(versions, key=lambda version: version.number))
    rows: list[Labelled] = []
    if with_log or not files:
        rows.append(from_log(state, model, pair, platform.policy_time(state)))
    if files:
        rows.append(from_files(files, platform.buckets, model))
    found = compare_on(rows, model, pair)
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True) | {"model": state.model, "verdict": found.sentence()})
        return
    _show(state.model, found)


def _show(model: str, found: SideBySide) -> None:
    from trimtab.app.cli.version_page import console, interval, table
    from trimtab.app.report.summary import title_of

    out = console()
    first, second = f"v{found.first}", f"v{found.second}"
    out.print(f"[bold]{model}/{first} and {model}/{second}[/] {found.sentence()}\n")
    columns = (first, second, f"{second} - {first}")
    made = table("metric", *columns, right=columns)
    for metric in dict.fromkeys((*found.of_first, *found.of_second)):
        made.add_row(
            title_of(metric),
            interval(metric, found.of_first.get(metric)),
            interval(metric, found.of_second.get(metric)),
            interval(metric, found.difference.get(metric)),
            style="bold" if metric == found.primary else None,
        )
    out.print(made)
    left_out = [
        f"{number:,} {why}"
        for number, why in ((found.learned, "that one of them has learned"), (found.unscored, "without all columns"))
        if number
    ]
    aside = f"; left out: {', '.join(left_out)}" if left_out else ""
    out.print(
        f"\n[dim]{found.rows:,} rows, {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}, {found.blocks} blocks; "
        f"intervals at {100 * found.confidence:g} %{aside}[/]"
    )
    if found.agree is not None:
        out.print(f"[dim]both say the same for {100 * found.agree:.1f} % of the rows[/]")
