"""The next write to a SeldonDeployment, by what is seen of it; each list is patched as the API server would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trimtab.core.ports import Serving
from trimtab.core.rollout.pinning import PORTS
from trimtab.core.rollout.predictor_writes import hand_back, next_write
from trimtab.core.rollout.predictors import Book, Found, Split, Write, routed

NUMBERS = {"v6": 6, "v7": 7, "v8": 8}


def predictor(name: str, traffic: int = 0, **more: Any) -> dict[str, Any]:
    container = {"name": "model", "ports": [{"name": port, "containerPort": number} for port, number in PORTS]}
    spec = {"spec": {"containers": [container]}}
    return {
        "name": name,
        "traffic": traffic,
        "replicas": 1,
        "graph": {"name": "model"},
        "componentSpecs": [spec],
        **more,
    }


def found(
    *predictors: Mapping[str, Any], ready: str = "", weights: Mapping[str, int] | None = None, **more: Any
) -> Found:
    """As seen when `ready` (names) are rolled out; routed as the spec says, unless told."""
    said = {each["name"]: each["traffic"] for each in predictors if not each.get("shadow")}
    names = frozenset(ready.split() or [each["name"] for each in predictors])
    return Found(tuple(predictors), names, said if weights is None else weights, **more)


def serving(
    champion: int = 6, challenger: int | None = None, weight: int = 0, *kept: int, shadow: bool = False
) -> Serving:
    running = {champion, *kept, *([challenger] if challenger else [])}
    return Serving(champion, challenger, weight, shadow, "", tuple(sorted(running)))


def split(wanted: Serving) -> Split:
    return Split(
        champion=f"v{wanted.champion}",
        challenger=f"v{wanted.challenger}" if wanted.challenger else None,
        weight_percent=wanted.weight_percent,
        shadow=wanted.shadow,
        running=tuple(f"v{version}" for version in wanted.versions),
        template=lambda name: {key: value for key, value in predictor(name).items() if key != "replicas"},
    )


def after(seen: Found | None, wanted: Serving) -> Write | None:
    return next_write(seen, split(wanted), wanted)


def patched(seen: Found, write: Write) -> list[dict[str, Any]]:
    """The predictors once the patch is made."""
    predictors = [dict(each) for each in seen.predictors]
    for operation in write.operations:
        place, *field = operation["path"].removeprefix("/spec/predictors/").split("/")
        if operation["op"] == "test":
            assert predictors[int(place)][field[0]] == operation["value"]
        elif operation["op"] == "remove" and not field:
            predictors.pop(int(place))
        elif operation["op"] == "remove":
            predictors[int(place)].pop(field[0])
        elif place == "-":
            predictors.append(dict(operation["value"]))
        else:
            predictors[int(place)][field[0]] = operation["value"]
    active = [each for each in predictors if not each.get("shadow")]
    assert sum(each.get("traffic", 0) for each in active) == 100 or len(active) == 1
    return predictors


def traffic(predictors: list[dict[str, Any]]) -> dict[str, int]:
    return {each["name"]: each.get("traffic", 0) for each in predictors}


def test_without_a_deployment_it_is_created_with_the_champion_alone() -> None:
    write = after(None, serving(6, None, 0, 7))
    assert write is not None
    assert [(each["name"], each["traffic"], each["replicas"]) for each in write.create] == [("v6", 100, 1)]


def test_what_is_as_it_should_be_is_left_alone() -> None:
    wanted = serving(6)
    seen = found(predictor("v6", 100), book=Book(replace(wanted, versions=()), ("v6",)))
    assert after(seen, wanted) is None


def test_a_challenger_comes_without_traffic_at_the_end_and_as_large_as_the_champion() -> None:
    seen = found(predictor("v6", 100, replicas=3))
    write = after(seen, serving(6, None, 0, 7))
    assert write is not None
    made = patched(seen, write)
    assert traffic(made) == {"v6": 100, "v7": 0}
    assert made[1]["replicas"] == 3


def test_no_weight_moves_to_who_is_not_rolled_out_whatever_the_operators_state_says() -> None:
    seen = found(predictor("v6", 100), predictor("v7"), ready="v6")
    assert after(seen, serving(6, 7, 25)) is None


def test_weights_move_all_at_once_guarded_by_every_name() -> None:
    seen = found(predictor("v6", 100), predictor("v7"))
    write = after(seen, serving(6, 7, 25))
    assert write is not None
    assert traffic(patched(seen, write)) == {"v6": 75, "v7": 25}
    assert [op["value"] for op in write.operations if op["op"] == "test"] == ["v6", "v7"]
    assert {op["path"].rsplit("/", 1)[-1] for op in write.operations} == {"name", "traffic"}


def test_an_abort_removes_the_challenger_though_it_is_not_ready_and_routing_is_frozen() -> None:
    seen = found(predictor("v6", 75), predictor("v7", 25), ready="v6")
    write = after(seen, serving(6))
    assert write is not None
    assert traffic(patched(seen, write)) == {"v6": 100}


def test_who_answers_is_not_removed_before_his_successor_can() -> None:
    seen = found(predictor("main", 100), predictor("v6"), ready="main")
    assert after(seen, serving(6)) is None
    ready = replace(seen, rolled_out=frozenset({"main", "v6"}))
    write = after(ready, serving(6))
    assert write is not None
    assert traffic(patched(ready, write)) == {"v6": 100}


@pytest.mark.parametrize("weights", [None, {}], ids=["no virtual service", "no routes"])
def test_where_nobody_knows_who_answers_none_goes_before_his_successor_can(weights: Mapping[str, int] | None) -> None:
    seen = replace(found(predictor("main", 100), predictor("v6"), ready="main"), weights=weights)
    assert after(seen, serving(6)) is None
    write = after(replace(seen, rolled_out=frozenset({"main", "v6"})), serving(6))
    assert write is not None
    assert write.what == "remove main"


def test_the_former_champion_is_kept_at_0_and_the_promoted_stays_where_it_is_in_the_list() -> None:
    seen = found(predictor("v6", 50), predictor("v7", 50), book=Book(serving(6, 7, 50), ("v6",)))
    wanted = serving(7, None, 0, 6)
    write = after(seen, wanted)
    assert write is not None
    assert traffic(patched(seen, write)) == {"v6": 0, "v7": 100}
    assert write.book == Book(replace(wanted, versions=()), ("v6", "v7"))


def test_a_kept_champion_that_goes_unready_is_removed_and_not_started_again_to_be_kept() -> None:
    wanted = serving(7, None, 0, 6)
    seen = found(
        predictor("v6"), predictor("v7", 100), ready="v7", book=Book(replace(wanted, versions=()), ("v6", "v7"))
    )
    write = after(seen, wanted)
    assert write is not None
    assert traffic(patched(seen, write)) == {"v7": 100}
    assert write.book.let_go == ("v6",)
    gone = found(predictor("v7", 100), book=write.book)
    assert after(gone, wanted) is None
    back = after(gone, serving(6, None, 0, 7))
    assert back is not None
    assert traffic(patched(gone, back)) == {"v7": 100, "v6": 0}, "a rollback to it starts it again"


def test_a_challenger_that_was_never_ready_is_waited_for() -> None:
    seen = found(
        predictor("v6", 100), predictor("v7"), ready="v6", book=Book(replace(serving(6), versions=()), ("v6",))
    )
    assert after(seen, serving(6, None, 0, 7)) is None


def test_a_shadow_step_makes_it_a_shadow_with_all_of_the_traffic_mirrored() -> None:
    seen = found(predictor("v6", 100), predictor("v7"))
    write = after(seen, serving(6, 7, 0, shadow=True))
    assert write is not None
    made = patched(seen, write)
    assert (made[1]["shadow"], made[1]["traffic"]) == (True, 100)


def test_a_shadow_that_is_to_answer_restarts_first_and_gets_its_weight_when_it_is_back() -> None:
    wanted = serving(6, 7, 10)
    seen = found(predictor("v6", 100), predictor("v7", 100, shadow=True))
    write = after(seen, wanted)
    assert write is not None
    made = patched(seen, write)
    assert traffic(made) == {"v6": 100, "v7": 0}
    assert "shadow" not in made[1]
    flipped = found(*made, ready="v6", weights={"v6": 100})
    assert after(flipped, wanted) is None
    write = after(replace(flipped, rolled_out=frozenset({"v6", "v7"})), wanted)
    assert write is not None
    assert traffic(patched(flipped, write)) == {"v6": 90, "v7": 10}


def test_an_existing_deployment_gets_the_replicas_and_ports_that_it_has_already() -> None:
    first, second = predictor("v6", 90), predictor("v7", 10)
    for each in (first, second):
        each["componentSpecs"][0]["spec"]["containers"][0].pop("ports")
        each.pop("replicas")
    seen = found(first, second, replicas={"v6": 2, "v7": 1})
    write = after(seen, serving(6, 7, 10))
    assert write is not None
    changes = {op["path"]: op["value"] for op in write.operations if op["op"] == "add"}
    assert (changes["/spec/predictors/0/replicas"], changes["/spec/predictors/1/replicas"]) == (2, 1)
    ports = [
        {
            port["name"]: port["containerPort"]
            for port in changes[f"/spec/predictors/{n}/componentSpecs/0/spec/containers/0/ports"]
        }
        for n in (0, 1)
    ]
    assert ports == [{"metrics": 6000, "http": 9000, "grpc": 9500}, {"metrics": 6001, "http": 9000, "grpc": 9500}]


def test_a_shadow_that_is_to_be_champion_is_made_one_that_can_answer_first() -> None:
    seen = found(predictor("v6", 100), predictor("v7", 100, shadow=True))
    write = after(seen, serving(7, None, 0, 6))
    assert write is not None
    made = patched(seen, write)
    assert traffic(made) == {"v6": 100, "v7": 0}
    assert "shadow" not in made[1]


def test_a_shadow_that_is_only_to_run_gets_no_copies_any_more() -> None:
    seen = found(predictor("v6", 100), predictor("v7", 100, shadow=True))
    write = after(seen, serving(6, None, 0, 7))
    assert write is not None
    assert traffic(patched(seen, write)) == {"v6": 100, "v7": 0}


def test_a_former_champion_that_fails_at_the_promotion_holds_nothing_up() -> None:
    # Routing is frozen at half and half while he is unready, whatever the weights say.
    wanted = serving(7, None, 0, 6)
    book = Book(replace(wanted, versions=()), ("v6", "v7"))
    seen = found(predictor("v6"), predictor("v7", 100), ready="v7", weights={"v6": 50, "v7": 50}, book=book)
    write = after(seen, wanted)
    assert write is not None
    assert traffic(patched(seen, write)) == {"v7": 100}


def test_a_challenger_with_a_size_of_its_own_keeps_it() -> None:
    seen = found(predictor("v6", 100, replicas=3))
    wanted = serving(6, None, 0, 7)
    write = next_write(seen, replace(split(wanted), template=lambda name: predictor(name, replicas=2)), wanted)
    assert write is not None
    assert patched(seen, write)[1]["replicas"] == 2


def test_one_that_an_autoscaler_sizes_is_not_given_another_size() -> None:
    scaled = predictor("v6", 100)
    scaled.pop("replicas")
    scaled["componentSpecs"][0]["hpaSpec"] = {"maxReplicas": 9}
    wanted = serving(6)
    seen = found(scaled, replicas={"v6": 4}, book=Book(replace(wanted, versions=()), ("v6",)))
    assert after(seen, wanted) is None
    added = after(seen, serving(6, None, 0, 7))
    assert added is not None
    assert patched(seen, added)[1]["replicas"] == 4


@pytest.mark.parametrize(
    ("weights", "mirrored", "asked", "expected"),
    [
        ({"v6": 100}, "", None, (6, None, 0, False)),
        ({"v6": 75, "v7": 25}, "", serving(6, 7, 25), (6, 7, 25, False)),
        ({"v6": 50, "v7": 50}, "", serving(6, 7, 50), (6, 7, 50, False)),
        ({"v6": 0, "v7": 100}, "", serving(7, None, 0, 6), (7, None, 0, False)),
        ({"v6": 100}, "v7", serving(6, 7, 0, shadow=True), (6, 7, 0, True)),
        ({"main": 100}, "", None, None),
        (None, "", None, None),
        ({"v6": 40, "v7": 30, "v8": 30}, "", None, None),
    ],
    ids=["alone", "canary", "half and half", "promoted", "shadow", "somebody else's", "nothing routed", "three"],
)
def test_the_route_is_the_virtual_services_word(weights, mirrored, asked, expected) -> None:
    seen = Found((), weights=weights, mirrored=mirrored, book=Book(asked))
    assert routed(seen, NUMBERS) == expected


# When its model is gone


def handed_back(seen: Found, champion: str = "v6") -> dict[str, int] | None:
    """Weights by name once its owner has it again; None while he does not get it."""
    operations = hand_back(seen, NUMBERS, champion)
    if operations is None:
        return None
    return {each["name"]: each["traffic"] for each in patched(seen, Write("", Book(), operations))}


def test_a_champion_that_is_not_ready_goes_with_its_model_and_the_owners_predictors_answer_on() -> None:
    main, blue = predictor("main", 100), predictor("blue", 30)

    assert handed_back(found(main, predictor("v6"), ready="main")) == {"main": 100}
    assert handed_back(found(blue, predictor("v6"), predictor("green", 70), predictor("v7"), ready="blue green")) == {
        "blue": 30,
        "green": 70,
    }


def test_an_owner_who_took_the_champion_away_himself_keeps_what_he_has() -> None:
    assert handed_back(found(predictor("main", 100))) == {"main": 100}
    assert handed_back(found(predictor("main", 100), weights={"v6": 100})) == {"main": 100}


def test_who_answers_by_the_router_gets_what_was_meant_for_the_champion() -> None:
    seen = found(predictor("main"), predictor("v6", 100), ready="main", weights={"main": 100})
    assert handed_back(seen) == {"main": 100}


@pytest.mark.parametrize(
    "seen",
    [
        found(predictor("main", 100), predictor("v6")),  # ready: it takes over
        found(predictor("main"), predictor("v6", 100), ready="main"),  # answers
        found(predictor("v6", 100)),
        found(predictor("v6", 100), predictor("main", shadow=True), ready="main", weights={}),  # copies are no answers
    ],
)
def test_a_champion_that_can_answer_or_that_nobody_stands_beside_is_not_handed_back(seen: Found) -> None:
    assert handed_back(seen) is None
