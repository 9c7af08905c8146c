"""Versions and aliases: earned once, never lost, the same after any crash and beside any other run."""

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.components.register import registration
from trimtab.components.register.registration import register
from trimtab.core.bootstrap import Interval
from trimtab.core.errors import Conflict
from trimtab.core.evaluation import Evaluation
from trimtab.core.records import Manifest, ModelVersion

NOW = datetime(2012, 6, 1, tzinfo=UTC)
MAY, JUNE, JULY = (datetime(2012, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def evaluation(champion=None, state="champion", result="better") -> Evaluation:
    return Evaluation(
        result=result if champion else "first",
        state=state,
        reason=f"judged beside {champion}",
        primary="mean_absolute_error",
        greater_is_better=False,
        champion=champion,
        holdout_start=MAY,
        holdout_end=JUNE,
        rows=300,
        compared_rows=300,
        blocks=14,
        block_seconds=86400,
        confidence=0.95,
        margin=0,
        floor=None,
        candidate={"mean_absolute_error": Interval(point=1.0)},
        champion_metrics={},
        difference={},
    )


def version(number: int, run_key: str, trained_until=JUNE, judged=None) -> ModelVersion:
    return ModelVersion(
        number=number,
        run_key=run_key,
        artifact=run_key * 8,
        evaluated_artifact=run_key * 8,
        dataset="d",
        training_digest="t",
        spec="s",
        trained_from=trained_until - timedelta(days=60),
        trained_until=trained_until,
        rows=1000,
        estimator="sklearn.linear_model:LinearRegression",
        seed=0,
        metrics={"mean_absolute_error": 1.0},
        evaluation=(judged or evaluation()).model_dump(mode="json", by_alias=True),
        reference="p",
        lineage={},
        training_seconds=1.0,
        fits=2,
        recorded_at=NOW,
    )


class Run:
    """One run up to its registration."""

    def __init__(self, state, run_key, judged, trained_until=JUNE, again=None):
        self.state, self.run_key, self.judged, self.until, self.again = state, run_key, judged, trained_until, again
        self.rivals = []

    def __call__(self):
        return register(
            self.state,
            self.run_key,
            self.until,
            self.judged,
            lambda number, judged: version(number, self.run_key, self.until, judged),
            self.judge,
            lambda: NOW,
        )

    def judge(self, rival):
        self.rivals.append(rival.number)
        assert self.again is not None, "nobody was to be judged again"
        return self.again.model_copy(update={"champion": rival.number})


def aliases(state):
    manifest = state.registry.manifest()
    return (manifest.champion, manifest.challenger, manifest.previous) if manifest else None


@pytest.fixture
def with_champion(state):
    Run(state, "k1", evaluation(), MAY)()
    return state


def test_a_first_model_becomes_champion(state):
    ended = Run(state, "k1", evaluation())()
    assert (ended.state, ended.version.number) == ("champion", 1)
    assert aliases(state) == (1, None, None)


def test_a_better_one_takes_the_alias_and_the_former_is_remembered(with_champion):
    assert Run(with_champion, "k2", evaluation(1))().state == "champion"
    assert aliases(with_champion) == (2, None, 1)
    assert "v2 became champion: judged beside 1" in with_champion.registry.manifest().cause


def test_a_challenger_leaves_the_champion_where_it_is(with_champion):
    assert Run(with_champion, "k2", evaluation(1, "challenger"))().state == "challenger"
    assert aliases(with_champion) == (1, 2, None)


def test_a_promotion_drops_no_challenger(with_champion):
    Run(with_champion, "k2", evaluation(1, "challenger"))()
    Run(with_champion, "k3", evaluation(1))()
    assert aliases(with_champion) == (3, 2, 1)


def test_one_that_waits_for_approval_is_registered_without_an_alias(with_champion):
    ended = Run(with_champion, "k2", evaluation(1, "awaitingApproval"))()
    assert (ended.state, ended.version.number) == ("awaitingApproval", 2)
    assert aliases(with_champion) == (1, None, None)


def test_repeated_it_changes_nothing(with_champion):
    run = Run(with_champion, "k2", evaluation(1))
    assert run() == run()
    assert [each.number for each in with_champion.registry.versions()] == [1, 2]
    assert len(with_champion.registry.manifests()) == 2


def test_repeated_after_another_run_promoted_its_own_it_still_says_what_it_was(with_champion):
    run = Run(with_champion, "k2", evaluation(1))
    run()
    Run(with_champion, "k3", evaluation(2), JULY)()
    assert (run().state, run().version.number) == ("champion", 2)
    assert aliases(with_champion) == (3, None, 2)


def test_killed_before_the_manifest_it_ends_the_same(with_champion, monkeypatch):
    run = Run(with_champion, "k2", evaluation(1))

    def die(name):
        raise KeyboardInterrupt(name)

    monkeypatch.setattr(registration.crash, "point", die)
    with pytest.raises(KeyboardInterrupt, match="before-manifest"):
        run()
    assert aliases(with_champion) == (1, None, None)
    monkeypatch.undo()
    assert run().version.number == 2
    assert aliases(with_champion) == (2, None, 1)
    assert len(with_champion.registry.versions()) == 2


def test_it_gives_way_to_a_champion_that_learned_as_far(with_champion):
    Run(with_champion, "k2", evaluation(1), JUNE)()
    ended = Run(with_champion, "k3", evaluation(1), JUNE)()
    assert (ended.state, ended.version) == ("superseded", None)
    assert aliases(with_champion) == (2, None, 1)


def test_of_two_first_models_one_gives_way(state):
    Run(state, "k1", evaluation())()
    assert Run(state, "k2", evaluation())().state == "superseded"
    assert aliases(state) == (1, None, None)


def test_one_that_learned_further_is_judged_again_beside_the_new_champion(with_champion):
    Run(with_champion, "k2", evaluation(1), JUNE)()
    run = Run(with_champion, "k3", evaluation(1), JULY, again=evaluation(2))
    ended = run()
    assert (run.rivals, ended.state) == ([2], "champion")
    assert ended.version.evaluation["champion"] == 2
    assert aliases(with_champion) == (3, None, 2)


def test_judged_again_it_may_be_rejected(with_champion):
    Run(with_champion, "k2", evaluation(1), JUNE)()
    ended = Run(with_champion, "k3", evaluation(1), JULY, again=evaluation(2, "rejected", "worse"))()
    assert (ended.state, ended.version) == ("rejected", None)
    assert aliases(with_champion) == (2, None, 1)


def test_a_champion_that_comes_in_the_last_moment_is_seen(with_champion, monkeypatch):
    """Between the look at the manifest and its create: the store refuses the number, and the run looks again."""
    other = Run(with_champion, "k9", evaluation(1), JULY)
    came = []

    def meanwhile(name):
        if not came:
            came.append(name)
            other()

    monkeypatch.setattr(registration.crash, "point", meanwhile)
    ended = Run(with_champion, "k2", evaluation(1), JUNE)()
    assert ended.state == "superseded"
    assert with_champion.registry.version(aliases(with_champion)[0]).run_key == "k9"


def test_it_gives_up_when_the_champion_changes_without_end(with_champion, monkeypatch):
    def another(name):
        def change(current):
            number = with_champion.registry.add_version(lambda free: version(free, f"x{free}", MAY)).number
            return Manifest(
                number=0, champion=number, challenger=None, previous=None, cause="", run_key="x", recorded_at=NOW
            )

        with_champion.registry.publish(change)

    monkeypatch.setattr(registration.crash, "point", another)
    with pytest.raises(Conflict, match="changed 5 times"):
        Run(with_champion, "k2", evaluation(1), JULY, again=evaluation(2))()


def test_registering_imports_no_scikit_learn():
    import subprocess
    import sys

    code = (
        "import sys, trimtab.adapters.steps, trimtab.components.register.registration;"
        "print([name for name in ('sklearn', 'polars', 'pandas', 'skops') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
