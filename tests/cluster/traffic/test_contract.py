"""
The suite that every traffic split passes, for a SeldonDeployment.

Left out is what Istio's weights cannot do: let the champion answer for a challenger that crashed, and keep users with
one variant. Answers come from elsewhere: the prediction log, or Prometheus.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parents[2] / "contracts" / "test_traffic.py"
NOT_OURS = {
    "test_the_champion_answers_for_a_challenger_that_crashed_and_the_failure_is_the_challengers",
    "test_a_user_keeps_the_variant_and_a_higher_weight_only_adds_users",
    "test_answers_are_read_by_position_once_and_alike_each_time",
    "test_the_one_in_memory_can_be_out_of_reach",
}


def _suite() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("trimtab_tests_traffic_suite", SUITE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert set(found) >= NOT_OURS, "a test that is left out has another name by now"
    return {name: test for name, test in found.items() if name not in NOT_OURS}


globals().update(_suite())


class Told:
    """The traffic split, beside a kubelet that says why containers do not come up."""

    def __init__(self, flights: Any) -> None:
        self._flights = flights

    def __getattr__(self, name: str) -> Any:
        self._flights.tell_why()
        return getattr(self._flights.traffic, name)


class Rig:
    def __init__(self, flights: Any) -> None:
        self._flights = flights
        self.traffic = Told(flights)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flights, name)


@pytest.fixture
def rig(flights: Any) -> Rig:
    for version in (1, 2):
        flights.pods.never_ready(flights.namespace, f"v{version}")
    return Rig(flights)
