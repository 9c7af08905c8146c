"""What to expect of a rollout before it begins, and how alpha is split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.core.rollout.levels import alphas, parts
from trimtab.core.rollout.plan import expected, requests_to_find
from trimtab.core.rollout.proof import harm, numbers
from trimtab.core.spec.rollout import Rollout


def policy(**section: Any) -> Rollout:
    return Rollout.model_validate({"strategy": "canary", **section})


def test_each_step_says_how_many_requests_of_all_traffic_it_takes() -> None:
    steps = [{"shadow": {"minRequests": 500}}, {"setWeight": 5, "minRequests": 400}, {"pause": {}}, {"setWeight": 50}]
    shadow, five, pause, half, proof = expected(policy(steps=steps), requests_per_second=10.0)
    assert (shadow.requests, shadow.seconds) == (500, 50)
    assert (five.requests, five.seconds) == (8000, 800)
    assert (pause.requests, pause.seconds, pause.finds) == (0, None, None)
    assert half.requests == 400
    assert five.finds is not None
    assert half.finds is not None
    assert shadow.finds is not None
    assert five.finds > 4 * half.finds > 4 * shadow.finds
    assert proof.step is None
    assert proof.requests > 0
    assert str(five).startswith("5 % of the traffic: 8,000 requests; 10 % errors against 2 % found after about ")


def test_a_steps_least_duration_counts_where_traffic_is_fast() -> None:
    (step, _) = expected(policy(steps=[{"setWeight": 50, "minDuration": "10m"}]), requests_per_second=100.0)
    assert step.seconds == 600


def test_without_known_traffic_times_are_not_invented() -> None:
    assert [each.seconds for each in expected(policy(steps=[{"setWeight": 50}]))] == [None, None]


def test_harm_within_the_margin_is_never_found() -> None:
    assert requests_to_find(0.5, 0.09, 0.05) is None


@pytest.mark.parametrize(("share", "simulated"), [(0.5, 250), (0.1, 640), (0.05, 1200)])
def test_the_expected_requests_are_those_of_simulations(share: float, simulated: int) -> None:
    """Medians of benchmarks/sequential_tests.py at margin .01."""
    found = requests_to_find(share, 0.01, 0.05)
    assert found is not None
    assert 0.7 < found / simulated < 1.5


@pytest.mark.parametrize("latency", [None, 50.0])
@pytest.mark.parametrize(
    ("strategy", "steps", "tests"),
    [
        ("canary", [{"setWeight": 5}], {"errors", "loss"}),
        ("canary", [{"shadow": {}}, {"setWeight": 5}], {"errors", "mirrored", "loss"}),
        ("shadow", [{"shadow": {}}], {"mirrored", "loss"}),
    ],
)
def test_alpha_is_split_over_what_can_be_measured_and_no_further(
    spec: Any, strategy: str, steps: list[dict[str, Any]], tests: set[str], latency: float | None
) -> None:
    found = alphas(spec(strategy=strategy, steps=steps, latency=latency, analysis={"alpha": 0.1}))
    assert sum(found.values()) == pytest.approx(0.1)
    assert set(found) == tests | ({"latency"} if latency and strategy != "shadow" else set())


def test_each_test_proves_at_its_own_share(spec: Any) -> None:
    from trimtab.core.rollout.evidence import begin

    rollout = spec(latency=50.0, steps=[{"shadow": {}}, {"setWeight": 5}])
    levels = parts(rollout.policy, judges_latency=True)
    for standing in harm(begin(rollout), rollout):
        assert standing.needed == pytest.approx(np.log(1 / levels[standing.test]))
        assert not standing.proven


def test_the_numbers_are_plain_json(spec: Any) -> None:
    from trimtab.core.records import canonical
    from trimtab.core.rollout.evidence import begin

    rollout = spec(latency=50.0)
    assert canonical(numbers(begin(rollout), rollout))
