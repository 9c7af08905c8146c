"""Every step towards the split that is wanted leads to nobody who cannot answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.ports import Serving
from trimtab.core.split import next_route

VERSIONS = st.integers(1, 4)


@st.composite
def servings(draw: st.DrawFn) -> Serving:
    champion = draw(VERSIONS)
    challenger = draw(st.none() | VERSIONS.filter(lambda version: version != champion))
    shadow = challenger is not None and draw(st.booleans())
    weight = 0 if challenger is None or shadow else draw(st.integers(0, 100))
    return Serving(champion, challenger, weight, shadow)


@given(
    wanted=servings(),
    route=st.none() | servings(),
    ready=st.frozensets(VERSIONS),
    crashed=st.frozensets(VERSIONS),
)
def test_a_route_gains_only_what_is_ready(
    wanted: Serving, route: Serving | None, ready: frozenset[int], crashed: frozenset[int]
) -> None:
    after = next_route(wanted, route, ready, ready | crashed)
    if after is None:
        assert wanted.champion not in ready
        return
    before = route or Serving(champion=0)
    assert after.champion in ready | {before.champion}
    if after.challenger is not None and after.challenger not in ready:
        assert after.challenger == before.challenger
        assert after.weight_percent <= before.weight_percent
    assert after.weight_percent in (0, wanted.weight_percent, before.weight_percent)
    # Asked again, nothing changes.
    assert next_route(wanted, after, ready, ready | crashed) == after


@given(wanted=servings(), route=st.none() | servings())
def test_once_all_are_ready_it_is_what_is_wanted(wanted: Serving, route: Serving | None) -> None:
    everyone = frozenset({1, 2, 3, 4})
    assert next_route(wanted, route, everyone, everyone) == wanted


def test_after_a_restart_a_challenger_that_is_not_ready_yet_has_no_share() -> None:
    half = Serving(champion=1, challenger=2, weight_percent=50)
    assert next_route(half, half, frozenset({1}), frozenset({1})) == Serving(champion=1)


def test_nobody_serves_while_the_champion_starts() -> None:
    assert next_route(Serving(champion=1, challenger=2), None, frozenset({2}), frozenset({2})) is None


def test_a_champion_that_crashed_keeps_its_route() -> None:
    half = Serving(champion=1, challenger=2, weight_percent=50)
    assert next_route(half, half, frozenset({2}), frozenset({1, 2})) == half
