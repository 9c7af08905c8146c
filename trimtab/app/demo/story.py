"""What the report tells of a rollout: the evidence again, answer by answer, and what users saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.app.demo.traffic import StreamTime
from trimtab.app.demo.trials import SLOW_MILLISECONDS
from trimtab.app.report.rollouts import Line, RolloutStory, Sample, Standing
from trimtab.core.rollout import evidence as evidences
from trimtab.core.rollout.evidence import Evidence
from trimtab.core.rollout.proof import Standing as Measured
from trimtab.core.rollout.proof import harm, harmless
from trimtab.core.rollout.values import RolloutSpec, RolloutState

if TYPE_CHECKING:
    import polars as pl

    from trimtab.adapters.models import Champion
    from trimtab.app.demo.client import Asked
    from trimtab.app.demo.traffic import Fortnight
    from trimtab.app.demo.watch import Watch
    from trimtab.core.ports import Answer
    from trimtab.core.scoring import Floats
    from trimtab.core.spec.model import ContinuousModel

LIVE = ("errors", "latency")  # tests on live traffic
CHUNK = 6  # answers between two points of the plot
# Flagger's rules and its example's numbers, with a day of the stream for its minute.
FIXED_SUCCESS, FIXED_MISSES = 0.99, 5


def told(
    letter: str, watch: Watch, model: ContinuousModel, uploads: Path, trusted: Sequence[str], folder: str
) -> RolloutStory:
    """
    The story of a rollout that was watched, and whether it ended as it should.

    Args:
        letter: By which the year's plot names it.
        watch: Closed.
        model: Its spec.
        uploads: Where the fortnights' files are.
        trusted: Types that the challengers' artifacts may hold.
        folder: Where their modules stand.
    """
    trial, spec, state = watch.trial, watch.spec, watch.now
    assert state is not None, "a rollout that was watched has begun"
    clock = StreamTime(watch.fortnights)
    ended = state.ended.timestamp() if state.ended else watch.looks[-1][0]
    until = clock.at(ended)
    asked = [(n, each) for n, fortnight in enumerate(watch.fortnights) for each in fortnight.asked if each.at <= ended]
    own = [(n, each) for n, each in asked if each.version == spec.version]
    metric = _decided(spec, state)
    scored = _scored(watch, model, uploads, trusted, folder)
    return RolloutStory(
        letter=letter,
        name=spec.name,
        version=spec.version,
        champion=spec.champion,
        title=trial.title,
        what=trial.what,
        phase=state.phase.value,
        metric=metric,
        verdict=state.reason[:1].upper() + state.reason[1:],
        kept=state.phase.value == trial.ends and metric == trial.metric,
        began=watch.fortnights[0].times[0],
        ended=until,
        labels=tuple(at for at in (clock.at(wall) for wall in watch.labelled) if at <= until),
        seconds=ended - watch.began_wall,
        requests=len(asked),
        answered=len(own),
        bad=_bad(trial.name, own, watch, ended, scored),
        bad_what=trial.bad,
        samples=tuple(samples(watch, clock, until)),
        **_tally(metric, watch, clock, until, scored),
        fixed=fixed_thresholds(watch, clock, ended),
    )


def samples(watch: Watch, clock: StreamTime, until: datetime) -> list[Sample]:
    """
    Weights and e-values over stream time.

    Errors and latency are computed again from the router's answers, a few at a time, as the controller computes them;
    what labels and copies tell changes seldom, and is what the controller wrote.
    """
    spec, last = watch.spec, watch.looks[-1][1]
    fine, found = evidences.begin(spec), []
    answers = iter(_chunks(watch.answers))
    chunk = next(answers, None)
    for wall, state in _moments(watch):
        while chunk is not None and chunk[-1].at <= wall:
            fine = evidences.with_answers(fine, spec, chunk, last.epochs)
            at = chunk[-1].at
            if clock.at(at) <= until:
                found.append(_sample(at, clock, spec, last, fine, _written(watch, at)))
            chunk = next(answers, None)
        # What ended it was written after it had ended: requests went on meanwhile.
        seen = _sample(wall, clock, spec, last, fine, evidence_of(state))
        found.append(seen.model_copy(update={"at": min(seen.at, until)}))
    return found


def fixed_thresholds(watch: Watch, clock: StreamTime, ended: float) -> str:
    """What a canary with fixed thresholds would have counted on the same answers of the challenger."""
    days: dict[Any, list[Answer]] = {}
    for answer in watch.answers:
        if answer.version == watch.spec.version and answer.at <= ended:
            days.setdefault(clock.at(answer.at).date(), []).append(answer)
    missed = sum(_misses(day) for day in days.values())
    verdict = "it would have rolled back" if missed >= FIXED_MISSES else "it would have gone on"
    verdict += ", without a look at labels" if watch.trial.metric == "loss" else ""
    return (
        f"A canary with fixed thresholds ({FIXED_SUCCESS:.0%} success, p99 below {SLOW_MILLISECONDS:g} ms, a check a "
        f"day, {FIXED_MISSES} misses roll back) had seen {missed} misses in {len(days)} days by then: {verdict}."
    ).replace("%", "\N{NO-BREAK SPACE}%")


def evidence_of(state: RolloutState) -> Evidence:
    return Evidence.model_validate(state.evidence)


def _misses(day: Sequence[Answer]) -> bool:
    seconds = sorted(answer.seconds for answer in day)
    p99 = seconds[ceil(0.99 * len(seconds)) - 1]
    success = 1 - sum(answer.failed for answer in day) / len(day)
    return success < FIXED_SUCCESS or p99 * 1000 > SLOW_MILLISECONDS


def _decided(spec: RolloutSpec, state: RolloutState) -> str:
    """The metric whose test proved: of harm first, else that no harm is done."""
    found = [standing.metric for standing in harm(evidence_of(state), spec) if standing.proven]
    return found[0] if found else "loss"


def _chunks(answers: Sequence[Answer]) -> list[list[Answer]]:
    ordered = sorted(answers, key=lambda answer: answer.at)
    return [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]


def _moments(watch: Watch) -> list[tuple[float, RolloutState]]:
    """Looks at the rollout, each at the moment of its writing as well as can be known."""
    return sorted(watch.looks, key=lambda look: look[0])


def _written(watch: Watch, wall: float) -> Evidence:
    before = [state for at, state in watch.looks if at <= wall]
    return evidence_of(before[-1] if before else watch.looks[0][1])


def _sample(
    wall: float, clock: StreamTime, spec: RolloutSpec, last: RolloutState, fine: Evidence, written: Evidence
) -> Sample:
    """Live tests from the answers, the others from what was written."""
    live = {each.test: each for each in harm(fine, spec)}
    kept = {each.test: each for each in harm(written, spec)}
    tests: dict[str, Measured] = {"harmless": harmless(written, spec)}
    tests |= {test: live[test] if test in LIVE else kept[test] for test in kept}
    weight, shadow = 0, False
    for epoch in last.epochs:
        if epoch.confirmed_from is not None and epoch.confirmed_from.timestamp() <= wall:
            weight, shadow = epoch.weight_percent, epoch.shadow
    return Sample(
        at=clock.at(wall),
        weight_percent=weight,
        shadow=shadow,
        tests={
            name: Standing(
                log_e=each.log_e,
                log_needed=each.needed,
                champion_units=each.champion_units,
                champion_mean=each.champion_mean,
                challenger_units=each.challenger_units,
                challenger_mean=each.challenger_mean,
            )
            for name, each in tests.items()
        },
    )


@dataclass(frozen=True)
class Scored:
    """What both would have said of every row of a fortnight: absolute errors, in its order."""

    fortnight: Fortnight
    champion: Floats
    challenger: Floats


def _scored(watch: Watch, model: ContinuousModel, uploads: Path, trusted: Sequence[str], folder: str) -> list[Scored]:
    from trimtab.adapters.models import load_version

    registry, spec = watch.state.registry, watch.spec
    champion, challenger = (
        load_version(watch.state, registry.version(number), trusted, folder) for number in (spec.champion, spec.version)
    )
    found = []
    for fortnight in watch.fortnights:
        rows = _rows(uploads / fortnight.batch.name, model)
        found.append(Scored(fortnight, _errors(rows, champion, model), _errors(rows, challenger, model)))
    return found


def _rows(file: Path, model: ContinuousModel) -> pl.DataFrame:
    from trimtab.adapters.files import read_table
    from trimtab.core.validation import validate

    return validate(read_table(file, model.spec.data.format), model.spec.data).valid


def _errors(rows: pl.DataFrame, version: Champion, model: ContinuousModel) -> Floats:
    import numpy as np

    data = model.spec.data
    found: Floats = np.abs(version.predict(rows, data).values - rows[data.target].to_numpy())
    return found


def _bad(trial: str, own: Sequence[tuple[int, Asked]], watch: Watch, ended: float, scored: Sequence[Scored]) -> int:
    """Answers of the challenger that users were the worse for; `own` are its answers, each with its fortnight."""
    if trial == "slow":
        return sum(each.seconds * 1000 > SLOW_MILLISECONDS for _, each in own)
    if trial == "failing":
        mine = (each for each in watch.answers if each.version == watch.spec.version and each.at <= ended)
        return sum(each.failed for each in mine)
    if trial == "worse":
        return sum(bool(scored[n].challenger[each.row] > scored[n].champion[each.row]) for n, each in own)
    return 0


def _tally(metric: str, watch: Watch, clock: StreamTime, until: datetime, scored: Sequence[Scored]) -> dict[str, Any]:
    """The title and the lines of what the deciding test counted."""
    if metric == "loss":
        return _loss_tally(watch, clock, until, scored)
    slow = metric == "latency"
    title = f"slower than {SLOW_MILLISECONDS:g} ms" if slow else "failed requests"
    lines = []
    for name, version in (("challenger", watch.spec.version), ("champion", watch.spec.champion)):
        count, points = 0, [(watch.fortnights[0].times[0], 0.0)]
        for answer in watch.answers:
            if answer.version == version and clock.at(answer.at) <= until:
                count += answer.seconds * 1000 > SLOW_MILLISECONDS if slow else answer.failed
                points.append((clock.at(answer.at), float(count)))
        lines.append(Line(name=name, points=(*points, (until, float(count)))))
    return {"tally_title": f"{title} (dashed: champion)", "tally": tuple(lines)}


def _loss_tally(watch: Watch, clock: StreamTime, until: datetime, scored: Sequence[Scored]) -> dict[str, Any]:
    """The challenger's loss beyond the champion's, row by row, as far as its labels had come."""
    import numpy as np

    labelled = scored[: len([wall for wall in watch.labelled if clock.at(wall) <= until])]
    scale, margin = watch.spec.loss_scale, watch.spec.policy.analysis.max_loss_increase
    worse = [np.minimum(each.challenger / scale, 1) - np.minimum(each.champion / scale, 1) for each in labelled]
    total = np.cumsum(np.concatenate([[0.0], *worse]))
    times = [watch.fortnights[0].times[0], *(at for each in labelled for at in each.fortnight.times)]
    points = tuple(zip(times, total.tolist(), strict=True))
    accepted = ((times[0], 0.0), (times[-1], margin * (len(times) - 1)))
    lines = (Line(name="challenger", points=points), Line(name="accepted", points=accepted))
    return {"tally_title": "more loss than the champion (dashed: accepted)", "tally": lines}
