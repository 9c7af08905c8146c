"""`trimtab backtest`: would this policy have paid on these files, in one command and without any service."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.app.cli import print_json
from trimtab.core.errors import Invalid

if TYPE_CHECKING:
    from datetime import timedelta

    from trimtab.core.comparison import Backtest, Comparison
    from trimtab.core.ports import Buckets
    from trimtab.core.spec import ContinuousModel


@click.command(
    epilog="\b\nTry it:  trimtab backtest -f examples/bikeshare/model.yaml examples/bikeshare/data/*.csv --every 2w"
)
@click.option("-f", "--file", "spec", type=click.Path(path_type=Path), required=True, help="The model's spec.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--every", metavar="DURATION", help="Deal the files out in stretches of event time, such as 2w.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a self-contained HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def backtest(spec: Path, files: tuple[Path, ...], every: str | None, report: Path | None, as_json: bool) -> None:
    """
    Replay FILES through the policy of a spec, and through simpler ones, on identical rows.

    Each file is an upload; they are replayed in order of event time. With --every, the first of several files stays
    whole (the history that a first model learns from) and the others are dealt out; a single file begins with a
    stretch as long as the window. Nothing is uploaded and no service is needed.
    """
    from trimtab.adapters.batches import read_batches

    text, model = read_spec(spec)
    batches = read_batches(files, model, _duration(every))
    with progress(f"replaying {len(batches)} uploads", quiet=as_json) as advance:
        found: Backtest = function()(model, text, batches, spec_folder=str(spec.resolve().parent), progress=advance)
    if report is not None:
        _write_report(found, report, model, files)
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True) | {"figures": figures(found.comparison)})
        return
    show(found, report)


def read_spec(path: Path) -> tuple[str, ContinuousModel]:
    """The spec's text and the spec, checked, with nothing in it that works only later."""
    from trimtab.adapters import specs
    from trimtab.core.spec.later import refuse_later

    text, model = specs.read(specs.read_file(str(path)), _connect, str(path))
    refuse_later(model)
    return text, model


def _connect() -> Buckets:
    """The store of this folder's platform, for a schema that stands apart from its spec."""
    from trimtab.adapters.s3 import connect
    from trimtab.app.settings import settings

    settings()
    return connect()


def function() -> Callable[..., Backtest]:
    """What replays, by its setting: the app does not import pipelines."""
    from trimtab.adapters import environment

    module, _, attribute = environment.backtest().partition(":")
    found: Callable[..., Backtest] = getattr(importlib.import_module(module), attribute)
    return found


def _duration(text: str | None) -> timedelta | None:
    from trimtab.core.spec.units import parse_duration

    if text is None:
        return None
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise Invalid(f"--every: {error}", "such as `--every 2w`") from error
    if not found:
        raise Invalid("--every: found a duration of nothing", "such as `--every 2w`")
    return found


class progress:  # noqa: N801  reads as the verb at its `with`
    """A bar on standard error while something long goes on; called with (done, total)."""

    def __init__(self, what: str, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=quiet,
        )
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def figures(comparison: Comparison) -> list[dict[str, Any]]:
    """The table as plain values."""
    return [
        {
            "policy": policy.name,
            "title": policy.title,
            comparison.metric: policy.score,
            "trainingRuns": len(policy.runs),
            "fits": policy.fits,
            "trainingSeconds": round(policy.seconds, 3),
        }
        for policy in comparison.policies
    ]


def table(comparison: Comparison) -> Any:
    """The policies side by side, as a rich table."""
    from rich.table import Table

    from trimtab.app.report.summary import show as value
    from trimtab.app.report.summary import title_of

    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    made.add_column("policy", no_wrap=True)
    for heading in (title_of(comparison.metric), "training runs", "fits", "seconds of fitting"):
        made.add_column(heading, justify="right", max_width=18)
    for policy in comparison.policies:
        made.add_row(
            policy.title,
            value(comparison.metric, policy.score),
            str(len(policy.runs)),
            str(policy.fits),
            f"{policy.seconds:.1f}",
            style="bold" if policy is comparison.policies[0] else None,
        )
    return made


def show(found: Backtest, report: Path | None = None) -> None:
    """For people: the table, when it trained and why, what was set aside, the verdict."""
    from rich.console import Console
    from rich.markup import escape

    from trimtab.app.report.summary import verdict

    console, comparison = Console(highlight=False, soft_wrap=True), found.comparison
    judged = comparison.policies[0].batches
    console.print(
        f"{comparison.model}: {len(judged)} batches judged, {comparison.rows:,} rows, "
        f"{judged[0].start:%Y-%m-%d} to {judged[-1].end:%Y-%m-%d}; the same rows under each policy\n"
    )
    console.print(table(comparison))
    console.print("\n[dim]when it trained, and why[/]")
    for run in comparison.policies[0].runs:
        result = f"v{run.version} serves" if run.outcome == "champion" else run.outcome
        console.print(escape(f"  {run.at:%Y-%m-%d}  {result:<10}  {run.reason}: {run.why}; {run.outcome_reason}"))
    aside = [upload for upload in found.uploads if upload.state != "ingested"]
    if aside:
        console.print("\n[dim]not taken in[/]")
    for upload in aside:
        console.print(escape(f"  {upload.name}: {upload.state}, {upload.reason}"))
    console.print(f"\n{escape(verdict(comparison))}.")
    if report is not None:
        console.print(f"report: {escape(str(report))}")


def _write_report(found: Backtest, path: Path, model: ContinuousModel, files: tuple[Path, ...]) -> None:
    from trimtab.app.report.page import write
    from trimtab.app.report.summary import Event, Summary

    names = ", ".join(file.name for file in files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    events = tuple(
        Event(
            at=upload.at,
            kind=upload.decision if upload.state == "ingested" else upload.state,
            summary=upload.why if upload.state == "ingested" else upload.reason,
            evidence={"upload": upload.name, "rows": upload.rows, "decision": upload.decision, "why": upload.why},
        )
        for upload in found.uploads
    )
    about = (
        f"A backtest of the policy in {model.name}'s spec on {names}. Each batch first judged the model that would "
        "have served, and only then could be learned from."
    )
    write(
        Summary(
            title=f"{model.name}: backtest",
            about=about,
            comparison=found.comparison,
            events=events,
            recorded_at=datetime.now(UTC),
        ),
        path,
    )
