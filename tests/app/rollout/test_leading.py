"""A rollout from its proposal to its end, by the leader's own looks at everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from trimtab.adapters.memory_traffic import MemoryTraffic
from trimtab.core.ports import Answer
from trimtab.core.predictions import PredictionLine
from trimtab.core.rollout.values import Phase

Rig = Any


def test_a_challenger_without_a_rollout_gets_one_and_its_first_weight(rig: Rig) -> None:
    rig.look(2)

    (spec,) = rig.specs()
    assert (spec.name, spec.version, spec.champion) == ("flights-v2", 2, 1)
    assert rig.route() == (1, 2, 10)
    state = rig.at()
    assert (state.phase, state.step, state.weight_percent) == (Phase.CANARY, 0, 10)
    assert state.epochs[-1].confirmed_from is not None
    assert state.step_started == state.epochs[-1].confirmed_from


def test_weights_rise_with_the_requests_and_the_alias_moves_last(rig: Rig) -> None:
    rig.look(2)
    rig.send(400)
    rig.look()
    assert rig.route() == (1, 2, 50)
    assert rig.aliases() == (1, 2)

    rig.send(300)
    rig.look(2)

    assert rig.route() == (2, None, 0)
    assert rig.aliases() == (2, None)
    assert rig.state.registry.manifest().previous == 1
    assert "promoted by rollout flights-v2" in rig.state.registry.manifest().cause
    state = rig.at()
    assert (state.phase, state.weight_percent) == (Phase.PROMOTED, 100)
    assert [epoch.weight_percent for epoch in state.epochs] == [10, 50, 100]
    assert all(epoch.confirmed_from for epoch in state.epochs)


def test_no_weight_is_given_before_the_challenger_is_ready(rig: Rig) -> None:
    rig.traffic.ready_at_once = False
    rig.look(5, seconds=60)
    assert rig.route() == (1, None, 0)
    assert rig.at().phase is Phase.PENDING
    assert rig.traffic.running == {1, 2}

    rig.traffic.make_ready(2)
    rig.look(2)

    assert rig.route() == (1, 2, 10)


def test_a_challenger_that_cannot_start_is_an_error_with_its_reason_and_harms_nobody(rig: Rig) -> None:
    rig.traffic.ready_at_once = False
    rig.look()
    rig.traffic.fail(2, "the artifact's SHA-256 is not the registry's")
    rig.look(2)

    assert rig.at().phase is Phase.ERROR
    assert "SHA-256" in rig.at().reason
    assert rig.route() == (1, None, 0)
    assert "v2 does not serve: the artifact's SHA-256" in rig.leader.problems[0]

    rig.traffic.make_ready(2)
    rig.look(2)

    assert rig.at().phase is Phase.CANARY


def test_proven_harm_takes_the_challenger_out_at_once_and_then_its_alias(rig: Rig) -> None:
    rig.look(2)

    rig.send(3000, error_ratio={2: 0.3})

    assert rig.route() == (1, None, 0)
    assert rig.at().phase is Phase.ROLLED_BACK
    assert "failed requests" in rig.at().reason
    rig.look()
    assert rig.aliases() == (1, None)
    assert "rollout flights-v2 RolledBack: harm is proven" in rig.state.registry.manifest().cause
    (entry,) = rig.told("rolledBack")
    assert entry.evidence["errors"]["proven"]
    assert entry.evidence["errors"]["logE"] > 3
    assert entry.evidence["requests"][0]["challengerFailed"] > 10
    assert rig.traffic.running == {1}


def test_what_a_challenger_raised_is_told_once_its_log_has_come(rig: Rig) -> None:
    rig.look(2)
    rig.send(3000, error_ratio={2: 0.3})
    assert rig.at().phase is Phase.ROLLED_BACK
    lines = [
        PredictionLine(
            kind="failure", id=f"r{number}", at=rig.now.timestamp(), version=version, seconds=0.01, rows=1, error=error
        )
        for number, (version, error) in enumerate([(2, "KeyError: 17")] * 3 + [(2, "ValueError: odd")] + [(1, "other")])
    ]
    key = rig.state.layout.predictions("v2-writer", 0)
    rig.state.bucket.create(key, b"".join(line.to_json() + b"\n" for line in lines))
    rig.look(2, seconds=5)
    rig.look(2, seconds=20)
    rig.start()
    rig.look(2, seconds=20)

    told = [entry for entry in rig.told("rollout") if entry.id.endswith("/raised")]
    assert [entry.summary for entry in told] == ["flights-v2: v2 raised KeyError: 17 (3x); ValueError: odd (1x)"]
    assert told[0].recorded_at >= rig.at().ended + timedelta(seconds=20)


def test_a_challenger_that_is_worse_is_not_said_to_have_raised_anything(rig: Rig) -> None:
    rig.look(2)
    rig.pairs = ([0.0] * 300, [0.0, 1.0, 0.0] * 100)
    rig.look(3, seconds=1)
    assert rig.at().phase is Phase.ROLLED_BACK
    rig.look(3, seconds=20)

    assert not [entry for entry in rig.told("rollout") if entry.id.endswith("/raised")]
    rig.look(3)
    assert len(rig.specs()) == 1, "the same evidence must not fire again"


def test_replayed_losses_roll_back_what_answers_everything_well(rig: Rig) -> None:
    rig.look(2)
    rig.pairs = ([0.0] * 300, [0.0, 1.0, 0.0] * 100)
    rig.look()

    assert rig.at().phase is Phase.ROLLED_BACK
    assert "loss" in rig.at().reason


def test_failures_that_only_wait_to_be_compared_are_heard_before_it_is_promoted(
    make_rig: Callable[..., Rig],
) -> None:
    policy = "{strategy: canary, steps: [{setWeight: 50, minRequests: 20, minDuration: 20m}], maxDuration: 1d}"
    rig = make_rig(rollout=policy, traffic=MemoryTraffic(told_apart=True))
    rig.register()
    rig.look()
    rig.register("challenger")
    rig.look(3)
    begins, scrape = rig.at().step_started, 15
    for _ in range(20 * 60 // scrape + 3):
        rig.look(seconds=scrape)
        until = rig.now.timestamp()
        for version in (1, 2):
            failed = version == 2 and rig.now >= begins + timedelta(minutes=18.5)
            answer = Answer(until - 7, version, failed, 0.005, within=(until - scrape, until), teller=f"pod-{version}")
            rig.traffic.record(*[answer] * 20)

    assert rig.at().phase is Phase.ROLLED_BACK
    assert rig.aliases() == (1, None)


def test_with_labels_only_a_loss_shown_harmless_promotes(rig: Rig) -> None:
    rig.look(2)
    rig.pairs = ([0.1, 0.2], [0.1, 0.2])
    rig.send(400)
    rig.send(300)
    rig.look(3)
    assert rig.aliases() == (1, 2)
    assert "not shown harmless yet" in rig.at().reason

    rig.pairs = ([0.3] * 2000, [0.3] * 2000)
    rig.look(2, seconds=5)

    assert rig.aliases() == (2, None)


def test_the_journal_tells_each_split_once_with_its_numbers(rig: Rig) -> None:
    rig.look(2)
    rig.send(400)
    rig.send(300)
    rig.look(2)
    rig.start()
    rig.look(2)

    told = [entry.summary.split(":")[1].strip() for entry in rig.told("rollout")]
    assert told == [
        "v2 beside v1, canary in 2 steps",
        "v2 answers 10 %",
        "v2 answers 50 %",
        "v2 answers everything",
        "Promoted",
    ]
    second = rig.told("rollout")[2].evidence
    assert (second["weightPercent"], second["step"]) == (50, 1)
    assert second["requests"][0]["challenger"] >= 20
    assert second["errors"]["logNeeded"] > second["errors"]["logE"]


def test_without_a_champion_nothing_is_asked_of_the_router(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.look(2)
    assert rig.traffic.wanted is None


def test_a_first_model_serves_as_soon_as_it_is_registered(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.register()
    rig.look()
    assert rig.route() == (1, None, 0)
    assert rig.state.served.read().champion == 1
    assert rig.state.served.read().kept is None
