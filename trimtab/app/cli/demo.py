"""`trimtab demo`: a year of real data through the whole loop, on this machine, without any preparation."""

from __future__ import annotations

import os
import platform as machine
import shutil
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.core.errors import TrimtabError

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.adapters.batches import Batch
    from trimtab.app.report.summary import Summary
    from trimtab.core.spec import ContinuousModel

# Threads that wait for each other at every tree make two cores slower than one.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FORTNIGHTS = 26  # of 2012; the last has 16 days


class PromiseBroken(TrimtabError):
    """The demo ran to its end and did not show what it is to show."""


@click.command(epilog="Try it:  trimtab demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".trimtab/demo"),
    show_default=True,
    help="Where it works and leaves its report; what a former demo left there is replaced.",
)
@click.option(
    "--fortnights",
    type=click.IntRange(1, FORTNIGHTS),
    default=FORTNIGHTS,
    show_default="the whole year",
    help="Stop after so many fortnights of 2012.",
)
@click.option("--keep", is_flag=True, help="Keep data and state, to look at them with `trimtab up`.")
def demo(folder: Path, fortnights: int, keep: bool) -> None:
    """
    A year of real data through the whole loop, on this machine.

    Starts the platform (an S3 store, Envoy, the listener, training by Kubeflow Pipelines, Seldon's model servers) and
    uploads 2011 of bicycle rentals. Then, a fortnight at a time, 2012: every hour is asked about through the gateway,
    and labelled when the fortnight's file lands, with mishaps in between. Four new models are put under traffic, and
    the three that turn out bad are rolled back. Ends with a table and a report. Takes about six minutes on two idle
    cores, needs no network, and leaves nothing running.
    """
    from rich.console import Console

    from trimtab.app.cli.platform import Stopped, signals_stop

    console = Console(highlight=False, soft_wrap=True)
    with signals_stop():
        try:
            summary = _run(folder, fortnights, keep, console)
        except Stopped:
            console.print("stopped; nothing is left running")
            raise click.Abort from None
    _end(summary, folder, console)


def _run(folder: Path, fortnights: int, keep: bool, console: Console) -> Summary:
    from trimtab.app.cli.backtest import read_spec
    from trimtab.app.demo.examples import example
    from trimtab.app.demo.rivals import Rivals
    from trimtab.app.demo.stage import Stage
    from trimtab.app.demo.year import Year, account

    began = time.monotonic()
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    source = example("bikeshare")
    _, model = read_spec(source / "model.yaml")
    _clear(folder)
    batches = _uploads(source, model, fortnights)
    files = _write(batches, folder / "uploads")
    stage = Stage(source, folder)
    console.print(f"[bold]trimtab demo[/]: {len(batches)} uploads of bicycle rentals through the whole loop\n")
    _tell(console, "", "starting", "an S3 store, the gateway, the listener and the loop, on 127.0.0.1")
    with Rivals(source / "model.yaml", files, folder / "backtest.log") as rivals, stage:
        _tell(console, "", "ready", f"uploads go to {model.spec.data.source} at {stage.platform.store.endpoint}")
        _tell(console, "", "", f"predictions come from {stage.platform.environment.gateway_url}")
        year = Year(stage, folder / "uploads", lambda when, what, how: _tell(console, when, what, how))
        year.play(batches)
        _tell(console, "", "comparing", "with simpler policies on the same rows")
        summary = account(year, rivals.result(), fortnights, began, _facts())
    _leave(folder, summary)
    if not keep:
        shutil.rmtree(stage.platform.folder)
        shutil.rmtree(folder / "uploads")
        (folder / "troubled.py").unlink()
    return summary


def _uploads(source: Path, model: ContinuousModel, fortnights: int) -> list[Batch]:
    """2011 whole, then 2012 in fortnights, each named for its first day."""
    from trimtab.adapters.batches import read_batches
    from trimtab.core.spec.units import parse_duration

    files = [source / "data" / "2011.csv", source / "data" / "2012.csv"]
    history, *year = read_batches(files, model, parse_duration("2w"))
    *year, before, rest = year
    _, rows = rest.body.split(b"\n", 1)
    # The year ends two days after its last fortnight: alone they would be a batch of 48 rows, all of them holidays.
    year.append(replace(before, body=before.body.rstrip(b"\n") + b"\n" + rows, last=rest.last))
    return [history, *(replace(batch, name=f"{batch.first:%Y-%m-%d}.csv") for batch in year[:fortnights])]


def _write(batches: list[Batch], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for batch in batches:
        (folder / batch.name).write_bytes(batch.body)
    return [folder / batch.name for batch in batches]


def _clear(folder: Path) -> None:
    """
    A demo begins with nothing: end and remove what a former one left.

    Raises:
        Invalid: If one runs here now.
    """
    from trimtab.adapters.kfp import LocalLauncher
    from trimtab.app.embedded.lock import FolderLock
    from trimtab.app.embedded.processes import end_leftovers
    from trimtab.app.settings import FOLDER

    state = folder.resolve() / FOLDER
    if state.is_dir():
        with FolderLock(state):
            end_leftovers(state / "pids")
            launcher = LocalLauncher(state / "runs", "")
            for run in launcher.leftovers():
                launcher.stop(run)
        shutil.rmtree(state)
    shutil.rmtree(folder / "uploads", ignore_errors=True)
    for name in ("report.html", "summary.json", "model.yaml", "backtest.log", "troubled.py"):
        (folder / name).unlink(missing_ok=True)


def _leave(folder: Path, summary: Summary) -> None:
    from trimtab.app.report.page import write

    (folder / "summary.json").write_bytes(summary.to_json())
    write(summary, folder / "report.html")


def _facts() -> dict[str, str]:
    return {
        "Machine": f"{os.cpu_count()} cores, {machine.system()} {machine.machine()}",
        "Python": machine.python_version(),
        **{name: version(name) for name in ("trimtab", "kfp", "scikit-learn")},
    }


def _tell(console: Console, when: str, what: str, how: str) -> None:
    from rich.text import Text

    console.print(Text(f"{when:>11}  ", style="dim") + Text(f"{what:<24}", style="bold") + Text(how))


def _end(summary: Summary, folder: Path, console: Console) -> None:
    """The table, the verdict, where to read more; raises where a promise was not kept."""
    from rich.text import Text

    from trimtab.app.cli.backtest import table
    from trimtab.app.report.summary import verdict

    console.print()
    console.print(table(summary.comparison))
    console.print(Text(f"\n{verdict(summary.comparison)}.", style="bold"))
    for promise in summary.promises:
        console.print(Text(f"  {'✓' if promise.kept else '✗'} {promise.promise}: {promise.found}"))
    calm = sum(incident.kept for incident in summary.incidents)
    console.print(Text(f"  {'✓' if calm == len(summary.incidents) else '✗'} Mishaps that disturbed nothing: "
                       f"{calm} of {len(summary.incidents)}"))  # fmt: skip
    console.print(Text(f"\nreport   {folder / 'report.html'}\nfigures  {folder / 'summary.json'}"))
    broken = [f"{promise.promise}: {promise.found}" for promise in summary.promises if not promise.kept]
    broken += [
        f"{story.name} {story.title}: {story.phase} by {story.metric}: {story.verdict}"
        for story in summary.rollouts
        if not story.kept
    ]
    broken += [f"{incident.what}: {incident.found}" for incident in summary.incidents if not incident.kept]
    if broken:
        raise PromiseBroken("the demo did not keep its promises\n  " + "\n  ".join(broken), f"see {folder}/report.html")
