"""Resources of the training step: what a Pod has and a cluster passes on."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.core.spec.resources import quantity, unfit


@pytest.mark.parametrize(
    ("resources", "at"),
    [
        ({"request": {"cpu": 1}}, ("request",)),
        ({"limits": 3}, ("limits",)),
        ({"limits": {"ephemeral-storage": "1Gi"}}, ("limits", "ephemeral-storage")),
        ({"limits": {"cpu": "lots"}}, ("limits", "cpu")),
        ({"limits": {"cpu": "-1"}}, ("limits", "cpu")),
        ({"limits": {"cpu": "NaN"}}, ("limits", "cpu")),
        ({"limits": {"cpu": True}}, ("limits", "cpu")),
        ({"limits": {"memory": "4GB"}}, ("limits", "memory")),
        ({"limits": {"nvidia.com/gpu": "500m"}}, ("limits", "nvidia.com/gpu")),
        ({"limits": {"nvidia.com/gpu": 1, "amd.com/gpu": 1}}, ("limits", "amd.com/gpu")),
        ({"requests": {"nvidia.com/gpu": 1}}, ("requests", "nvidia.com/gpu")),
        ({"requests": {"memory": "8Gi"}, "limits": {"memory": "8G"}}, ("requests", "memory")),
    ],
)
def test_what_cannot_be_passed_on_is_found_by_its_path(resources: dict[str, Any], at: tuple[str, ...]) -> None:
    (breach,) = unfit(resources)
    assert breach.at == at
    assert breach.hint


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "4096Mi"}},
        {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}},
        {"limits": {"cpu": 0.5}},
    ],
)
def test_a_pods_own_words_are_taken(resources: dict[str, Any]) -> None:
    assert list(unfit(resources)) == []


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("1e3", 1000), ("2Ki", 2048), ("1M", 10**6), ("100m", 0.1)])
def test_quantities(text: str, value: float) -> None:
    found = quantity(text)
    assert found is not None
    assert float(found) == pytest.approx(value)
