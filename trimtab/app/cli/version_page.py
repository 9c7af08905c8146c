"""How a terminal shows model versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trimtab.app.report.summary import show as value
from trimtab.app.report.summary import title_of
from trimtab.core.bootstrap import Interval
from trimtab.core.evaluation import Evaluation
from trimtab.core.records import Manifest, ModelVersion, Outcome

SHORT = 12  # hex digits of a digest that people see
WIDE = 200


def console() -> Console:
    """For tables: as wide as the terminal; where a file or a pipe takes the output, wide enough to fold nothing."""
    made = Console(highlight=False, soft_wrap=True)
    return made if made.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDE)


def table(*headings: str, right: Sequence[str] = ()) -> Table:
    """A plain table; the columns in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return made


def show_versions(
    model: str, versions: Sequence[ModelVersion], manifest: Manifest | None, results: Mapping[int, str]
) -> None:
    """One line a version, the newest first."""
    from trimtab.app.cli.versions import aliases

    metric = primary(versions[-1])
    made = table("version", "stands as", "run ended", title_of(metric), "rows", "trained until", right=["rows"])
    for version in reversed(versions):
        names = aliases(version.number, manifest)
        found = version.metrics.get(metric)
        made.add_row(
            f"{model}/v{version.number}",
            ", ".join(names),
            results.get(version.number, "goes on"),
            "" if found is None else value(metric, found),
            f"{version.rows:,}",
            f"{version.trained_until:%Y-%m-%d %H:%M}",
            style="bold" if "champion" in names else None,
        )
    out = console()
    out.print(made)
    out.print(f"\nmore of one: trimtab show {model}/v{versions[-1].number}")


def show_version(model: str, version: ModelVersion, aliases: Sequence[str], outcome: Outcome | None) -> None:
    """Everything the registry holds of one version."""
    out = console()
    out.print(f"[bold]{model}/v{version.number}[/] {', '.join(aliases)}\n")
    facts = Table.grid(padding=(0, 3, 0, 0))
    for name, text in _facts(version, outcome):
        facts.add_row(f"[dim]{name}[/]", escape(text))
    out.print(facts)
    if version.evaluation:
        _show_evaluation(out, Evaluation.model_validate(version.evaluation))
    if version.lineage:
        out.print("\n[dim]lineage[/]")
        for name, text in _flat(version.lineage):
            out.print(escape(f"  {name}: {text}"))
    out.print(f"\ndownload it: trimtab get {model}/v{version.number} -o {model}-v{version.number}/")


def _facts(version: ModelVersion, outcome: Outcome | None) -> list[tuple[str, str]]:
    same = version.artifact == version.evaluated_artifact
    judged = "the same that was judged" if same else f"refitted; judged was {version.evaluated_artifact[:SHORT]}"
    return [
        ("its run", f"{outcome.state}: {outcome.reason}" if outcome else "goes on"),
        ("estimator", f"{version.estimator}, seed {version.seed}"),
        ("trained on", f"{version.rows:,} rows, {version.trained_from:%Y-%m-%d %H:%M} to {_minute(version)}"),
        ("artifact", f"{version.artifact[:SHORT]} ({judged})"),
        ("dataset", version.dataset[:SHORT]),
        ("recipe", f"{version.training_digest[:SHORT]} (training digest), spec {version.spec[:SHORT]}"),
        ("fitting", f"{version.fits} fits in {version.training_seconds:.1f} s"),
        ("registered", f"{version.recorded_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _minute(version: ModelVersion) -> str:
    return f"{version.trained_until:%Y-%m-%d %H:%M} UTC"


def _show_evaluation(out: Console, found: Evaluation) -> None:
    against = f"v{found.champion}" if found.champion else "no champion"
    out.print(f"\n[dim]evaluation against {against}[/]  {found.result}: {escape(found.reason)}")
    out.print(
        f"[dim]{found.rows:,} rows held out, {found.holdout_start:%Y-%m-%d} to {found.holdout_end:%Y-%m-%d}, "
        f"{found.blocks} blocks; intervals at {100 * found.confidence:g} %[/]"
    )
    made = table("metric", "candidate", "champion", "difference", right=["candidate", "champion", "difference"])
    for metric, candidate in found.candidate.items():
        made.add_row(
            title_of(metric),
            interval(metric, candidate),
            interval(metric, found.champion_metrics.get(metric)),
            interval(metric, found.difference.get(metric)),
            style="bold" if metric == found.primary else None,
        )
    out.print(made)
    if found.serving is not None:
        out.print(escape(f"in the serving environment: {found.serving.sentence()}"))
    if found.slices:
        out.print(f"\n[dim]{title_of(found.primary)} by slice (reported, never decides)[/]")
        slices = table("slice", "rows", "candidate", "champion", right=["rows", "candidate", "champion"])
        for part in found.slices:
            slices.add_row(
                escape(f"{part.column} = {part.value}"),
                f"{part.rows:,}",
                interval(found.primary, part.candidate),
                interval(found.primary, part.champion),
            )
        out.print(slices)


def interval(metric: str, found: Interval | None) -> str:
    """
    An estimate with its interval.

    >>> interval("roc_auc", Interval(point=0.71, low=0.7, high=0.72)), interval("roc_auc", None)
    ('0.710 (0.700 to 0.720)', '')
    """
    if found is None or found.point is None:
        return ""
    if found.low is None or found.high is None:
        return value(metric, found.point)
    return f"{value(metric, found.point)} ({value(metric, found.low)} to {value(metric, found.high)})"


def primary(version: ModelVersion) -> str:
    """The metric that decided."""
    return str(version.evaluation.get("primary") or next(iter(version.metrics), ""))


def _flat(lineage: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as lines; long lists by their length."""
    lines: list[tuple[str, str]] = []
    for name, found in sorted(lineage.items()):
        if isinstance(found, Mapping):
            lines += _flat(found, f"{prefix}{name}.")
        elif isinstance(found, list) and len(found) > 3:
            lines.append((f"{prefix}{name}", f"{len(found)} of them"))
        else:
            lines.append((f"{prefix}{name}", ", ".join(map(str, found)) if isinstance(found, list) else str(found)))
    return lines
