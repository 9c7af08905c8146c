"""
Would this policy have paid on these files: the spec's policy beside simpler ones, on identical rows.

The app reaches this by the setting TRIMTAB_BACKTEST: only pipelines may import the steps' functions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.adapters import estimators
from trimtab.core.comparison import Backtest, Comparison, PolicyResult
from trimtab.core.errors import Invalid
from trimtab.core.metrics import METRICS
from trimtab.pipelines.fixed_policies import fixed_policies
from trimtab.pipelines.replay import Replay

if TYPE_CHECKING:
    from trimtab.adapters.batches import Batch
    from trimtab.core.spec import ContinuousModel

Progress = Callable[[int, int], None]  # called with (done, total)
MOST_POLICIES = 5


def backtest(
    model: ContinuousModel,
    text: str,
    batches: Sequence[Batch],
    *,
    spec_folder: str = "",
    progress: Progress = lambda done, total: None,
) -> Backtest:
    """
    Replay uploads through the spec's policy, then through the baselines.

    Args:
        model: The spec.
        text: Its YAML.
        batches: The uploads, in order.
        spec_folder: Where the user's own modules lie.
        progress: Told now and then how far it is.

    Raises:
        Invalid: If the estimator is wrong, or no batch could be judged: what became of each upload, in short.
    """
    estimators.check(model, spec_folder)
    total, done = len(batches) * MOST_POLICIES, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total)

    with tempfile.TemporaryDirectory(prefix="trimtab-backtest-") as cache:
        replay = Replay(model, text, spec_folder, Path(cache))
        for batch in batches:
            replay.upload(batch)
            step()
        if not replay.scores:
            raise _nothing_judged(replay)
        ours = PolicyResult(
            name="trimtab",
            title="trimtab",
            what=describe(model),
            batches=tuple(replay.scores),
            runs=tuple(replay.runs),
        )
        others = fixed_policies(model, lambda: estimators.build(model.spec.training, spec_folder), replay.taken, step)
    primary = model.spec.evaluation.primary
    comparison = Comparison(
        model=model.name,
        metric=primary,
        greater_is_better=METRICS[primary].greater_is_better,
        policies=(ours, *others),
    )
    progress(total, total)
    return Backtest(comparison=comparison, uploads=tuple(replay.uploads))


def describe(model: ContinuousModel) -> str:
    """The spec's policy in one sentence."""
    from trimtab.core.spec.units import format_duration

    triggers, window = model.spec.triggers, model.spec.window
    when = []
    if triggers.upload:
        when.append(f"after {triggers.upload.min_new_rows:,} new rows")
    if triggers.schedule:
        when.append(f"by the schedule {triggers.schedule.cron}")
    rows = f"the last {format_duration(window.size)}" if window.size else "all rows"
    return f"The policy of the spec: trained {' or '.join(when) or 'on demand'} on {rows}, judged before it serves"


def _nothing_judged(replay: Replay) -> Invalid:
    """Why there is nothing to compare."""
    lines = [f"{upload.name}: {upload.state}, {upload.reason or upload.why}" for upload in replay.uploads[:5]]
    failed = [run.outcome_reason for run in replay.runs if run.outcome != "champion"]
    none = "the first model came with the last upload" if replay.runs else "no training run was started"
    why = failed[-1] if failed else none
    return Invalid(
        f"no upload was judged, because no model served in time: {why}\n  " + "\n  ".join(lines),
        "give more or longer files, or lower triggers.upload.minNewRows, window.minRows or evaluation.holdout",
    )
