"""
From an accepted candidate to a registered version and its alias.

Killed anywhere and repeated, it ends the same: the version is found by its run key, and so is the manifest. Between
evaluation and here another run may have made a champion. Then the candidate was judged against a model that serves no
more: it gives way to one that has learned at least as far, and is judged again beside one that has not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from platform import python_version
from typing import Any

from trimtab.adapters import card, crash, estimators
from trimtab.adapters.state import State
from trimtab.adapters.steps import Step
from trimtab.core.errors import Conflict
from trimtab.core.evaluation import Evaluation
from trimtab.core.lineage import version_of_run
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.window import TrainingWindow

# What a model depends on besides data, spec and its own code.
PACKAGES = ("trimtab", "scikit-learn", "numpy", "scipy", "pandas", "polars", "skops")
ROUNDS = 5  # each is another champion that came in between

# Makes the version for a number and an evaluation, its card included.
Build = Callable[[int, Evaluation], ModelVersion]
Judge = Callable[[ModelVersion], Evaluation]


@dataclass(frozen=True)
class Registered:
    """How it ended, as an Outcome says it; no version where the run gave way or was rejected."""

    state: str  # champion | challenger | awaitingApproval | rejected | superseded
    reason: str
    version: ModelVersion | None = None


class _Moved(Exception):
    """The champion changed while the manifest was being written."""


def register_run(run: Step) -> dict[str, Any]:
    """
    Register what the run's earlier steps concluded, and conclude its decision.

    Returns:
        `state`, `reason`, `version`, `card` and `artifact` for the step to keep; no version and no card where the run
        gave way or was rejected after all.
    """
    trained, judged = run.earlier("train"), run.earlier("evaluate")
    window = TrainingWindow.model_validate(run.earlier("window"))

    def build(number: int, evaluation: Evaluation) -> ModelVersion:
        version = version_of_run(
            number,
            run.model,
            run.decision,
            window,
            trained,
            judged,
            evaluation,
            dataset=run.state.data.dataset(window.dataset),
            code=estimators.code_digest(run.model.spec.training, run.spec_folder),
            packages={"python": python_version(), **{name: installed(name) for name in PACKAGES}},
            recorded_at=run.now(),
        )
        page = run.state.data.put_card(card.render(run.model.name, version))
        return version.model_copy(update={"card": page})

    ended = register(
        run.state,
        run.run_key,
        datetime.fromisoformat(judged["learned"]["until"]),
        Evaluation.model_validate(judged["evaluation"]),
        build,
        lambda rival: _judge_again(run, window, trained["artifact"], rival),
        run.now,
    )
    version = ended.version
    outcome = run.end_run(
        state=ended.state,
        reason=ended.reason,
        version=version.number if version else None,
        training_seconds=trained["seconds"] + judged["seconds"],
        fits=trained["fits"] + judged["fits"],
    )
    return {
        "state": outcome.state,
        "reason": outcome.reason,
        "version": outcome.version,
        "card": version.card if version else "",
        "artifact": version.artifact if version else "",
    }


def _judge_again(run: Step, window: TrainingWindow, artifact: str, rival: ModelVersion) -> Evaluation:
    """Rare, so what it needs is imported only now."""
    from trimtab.adapters.judging import judge
    from trimtab.adapters.models import load_artifact, load_rival
    from trimtab.adapters.rows import load_rows

    run.say(f"v{rival.number} became champion meanwhile: judging beside it")
    trust = (run.trusted_types, run.spec_folder)
    rows = load_rows(run.state, run.state.data.dataset(window.dataset), run.model.spec.data, window.cut, window.end)
    candidate = load_artifact(run.state, artifact, run.model.spec.training.estimator, *trust)
    return judge(rows, run.model, window, candidate, load_rival(run.state, rival, *trust))


def register(
    state: State,
    run_key: str,
    trained_until: datetime,
    evaluation: Evaluation,
    build: Build,
    judge_again: Judge,
    now: Callable[[], datetime],
) -> Registered:
    """
    Register the candidate and move the alias that its evaluation earned.

    Args:
        state: The model's state.
        run_key: Of this run.
        trained_until: Event time of the newest row it learned.
        evaluation: Against the champion that served then; accepted.
        build: Makes the version.
        judge_again: Judges the candidate beside another champion.
        now: The wall clock, for `recorded_at`.

    Raises:
        Conflict: If the champion changed again and again.
    """
    for _ in range(ROUNDS):
        published = next((other for other in state.registry.manifests() if other.run_key == run_key), None)
        if published is not None:
            return _as_published(state, run_key, published, evaluation)
        rival = _champion(state)
        if (rival.number if rival else None) != evaluation.champion and rival is not None:
            if rival.trained_until >= trained_until:
                return Registered("superseded", _gave_way(rival, trained_until))
            evaluation = judge_again(rival).model_copy(update={"serving": evaluation.serving})
        if not evaluation.accepted:
            return Registered("rejected", evaluation.reason)
        judged = evaluation
        version = state.registry.add_version(lambda number, judged=judged: build(number, judged))  # type: ignore[misc]
        if evaluation.state == "awaitingApproval":
            return Registered(evaluation.state, evaluation.reason, version)
        crash.point("before-manifest")
        try:
            state.registry.publish(lambda current, v=version, e=judged: _next(current, v, e, now()))  # type: ignore[misc]
        except _Moved:
            continue
        return Registered(evaluation.state, evaluation.reason, version)
    raise Conflict(f"the champion changed {ROUNDS} times while {state.model} was being registered")


def next_manifest(
    current: Manifest | None, version: ModelVersion, evaluation: Evaluation, recorded_at: datetime
) -> Manifest:
    """The manifest after this version got its alias; the store gives the number. Neither alias is ever dropped."""
    champion = current.champion if current else None
    challenger = current.challenger if current else None
    previous = current.previous if current else None
    if evaluation.state == "champion":
        champion, previous = version.number, champion if champion is not None else previous
    else:
        challenger = version.number
    return Manifest(
        number=current.number + 1 if current else 1,
        champion=champion,
        challenger=challenger,
        previous=previous,
        cause=f"v{version.number} became {evaluation.state}: {evaluation.reason}",
        run_key=version.run_key,
        recorded_at=recorded_at,
    )


def _next(
    current: Manifest | None, version: ModelVersion, evaluation: Evaluation, recorded_at: datetime
) -> Manifest | None:
    if current is not None and current.run_key == version.run_key:
        return None  # the answer to the create was lost; it stands
    if (current.champion if current else None) != evaluation.champion:
        raise _Moved
    return next_manifest(current, version, evaluation, recorded_at)


def _champion(state: State) -> ModelVersion | None:
    manifest = state.registry.manifest()
    return None if manifest is None or manifest.champion is None else state.registry.version(manifest.champion)


def _as_published(state: State, run_key: str, published: Manifest, evaluation: Evaluation) -> Registered:
    """What an earlier attempt of this run published already, whatever came after it."""
    version = state.registry.version_of(run_key)
    assert version is not None, "a manifest is published only for a version that stands"
    became = "champion" if published.champion == version.number else "challenger"
    earlier = Evaluation.model_validate(version.evaluation) if version.evaluation else evaluation
    return Registered(became, earlier.reason, version)


def _gave_way(rival: ModelVersion, trained_until: datetime) -> str:
    return (
        f"v{rival.number} became champion meanwhile and learned until {rival.trained_until:%Y-%m-%d %H:%M}, "
        f"this candidate until {trained_until:%Y-%m-%d %H:%M}"
    )
