"""The gateway as a client meets it: real Envoys, small servers in place of model servers."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from trimtab.core.ports import Answer, Serving

if TYPE_CHECKING:
    from tests.conftest import StandIns

DEADLINE_SECONDS = 60.0
PREDICTIONS = "/api/v1.0/predictions"
HALF = Serving(champion=1, challenger=2, weight_percent=50)


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def serve(rig: StandIns, serving: Serving) -> None:
    """Every version that is named is ready, and the router has confirmed."""
    challenger = () if serving.challenger is None else (serving.challenger,)
    rig.make_ready(serving.champion, *challenger, *serving.versions)
    rig.traffic.want(serving)
    until(lambda: _routed(rig) == serving)


def _routed(rig: StandIns) -> Serving | None:
    route = rig.traffic.seen().route
    return route and Serving(route.champion, route.challenger, route.weight_percent, route.shadow, route.sticky_header)


def measured(rig: StandIns, position: str, count: int) -> list[Answer]:
    found: list[Answer] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} answers in the log"
        more, position = rig.traffic.answers(position)
        found += more
        time.sleep(0.01)
    return found


def asked(rig: StandIns, version: int) -> list[dict[str, str]]:
    """The requests that reached a version."""
    file = rig.folder / f"v{version}.requests"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


class Load:
    """Clients that ask one after the other, each over its own connection, until told to stop."""

    def __init__(self, rig: StandIns, clients: int) -> None:
        self.codes: list[int] = []
        self.broken: list[str] = []  # what a client got in place of an answer
        self._rig = rig
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        headers = {"authorization": f"Bearer {self._rig.TOKEN}"}
        with httpx.Client(base_url=self._rig.gateway.url, headers=headers, timeout=30, trust_env=False) as client:
            while not self._stopping.is_set():
                try:
                    self.codes.append(client.post(PREDICTIONS, json={}).status_code)
                except httpx.TransportError as error:
                    self.broken.append(repr(error))

    @property
    def failed(self) -> int:
        return len(self.broken) + sum(code != 200 for code in self.codes)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()

    def more(self, requests: int) -> None:
        """Wait for that many further answers."""
        so_far = len(self.codes)
        until(lambda: len(self.codes) >= so_far + requests)


def test_without_a_champion_it_says_so_as_json(stand_ins: StandIns) -> None:
    answer = stand_ins.ask()
    assert answer.status_code == 503
    assert "no version of flights serves yet" in answer.json()["error"]
    assert stand_ins.variants.running == frozenset()


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer gateway-token-and-more", "Basic gateway-token"])
def test_without_its_token_nobody_gets_in(stand_ins: StandIns, authorization: str) -> None:
    serve(stand_ins, Serving(champion=1))
    headers = {"authorization": authorization, "x-trimtab-variant": "v1"} if authorization else {}
    for path in (PREDICTIONS, "/api/v1.0/feedback", "/metadata", "/", "/health/../metadata"):
        answer = httpx.post(stand_ins.gateway.url + path, headers=headers, json={}, trust_env=False)
        assert answer.status_code == 401
        assert "Authorization: Bearer" in answer.json()["error"]
        assert answer.headers["www-authenticate"] == "Bearer"
    assert asked(stand_ins, 1) == []


def test_health_needs_no_token(stand_ins: StandIns) -> None:
    def status() -> int:
        return httpx.get(stand_ins.gateway.url + "/health/status", trust_env=False).status_code

    assert status() == 503
    serve(stand_ins, Serving(champion=1))
    assert status() == 200


def test_a_variant_sees_neither_the_token_nor_a_user_that_a_client_made_up(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    assert stand_ins.ask(x_trimtab_user="eve", seldon_puid="r1").status_code == 200
    [request] = asked(stand_ins, 1)
    assert "authorization" not in request
    assert "x-trimtab-user" not in request
    assert request["seldon-puid"] == "r1"
    assert request["x-request-id"]


def test_the_access_log_names_request_and_user_and_holds_no_token(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1, challenger=2, weight_percent=50, sticky_header="x-entity-id"))
    _, position = stand_ins.traffic.answers("")
    stand_ins.ask(x_entity_id="ann", x_trimtab_user="eve", seldon_puid="r1")
    own = stand_ins.ask(x_request_id="mine")
    assert own.headers["x-request-id"] == "mine"
    answers = measured(stand_ins, position, 2)
    assert {(answer.request_id, answer.user) for answer in answers} == {("r1", "ann"), ("mine", "")}
    logs = "".join(path.read_text() for path in (stand_ins.folder / "gateway").glob("*/access*"))
    assert "r1" in logs
    assert stand_ins.TOKEN not in logs
    assert PREDICTIONS not in logs


def test_a_header_forces_a_variant_and_is_not_measured(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1, challenger=2, weight_percent=1))
    _, position = stand_ins.traffic.answers("")
    for _ in range(20):
        assert stand_ins.ask(x_trimtab_variant="v2").headers["x-model-variant"] == "v2"
    unknown = stand_ins.ask(x_trimtab_variant="v9")
    assert unknown.status_code == 404
    assert "now run: v1, v2" in unknown.json()["error"]
    assert stand_ins.ask(x_request_id="last").status_code == 200
    assert [answer.request_id for answer in measured(stand_ins, position, 1)] == ["last"]


def test_only_predictions_are_split_and_mirrored(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1, challenger=2, shadow=True))
    paths = [PREDICTIONS, "/v2/models/flights/infer", "/api/v1.0/feedback", "/metadata"]
    for path in paths:
        assert stand_ins.ask(path, x_request_id=path).headers["x-model-variant"] == "v1"
    until(lambda: len(asked(stand_ins, 2)) >= 2)
    copies = asked(stand_ins, 2)
    assert {copy["x-request-id"] for copy in copies} == set(paths[:2])
    assert all(copy["host"].split(":")[0].endswith("-shadow") for copy in copies)
    assert not any(request["host"].split(":")[0].endswith("-shadow") for request in asked(stand_ins, 1))


def test_no_client_passes_its_request_off_as_a_mirrored_one_or_gives_it_two_ids(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    url = stand_ins.gateway.url + PREDICTIONS
    headers = {"authorization": f"Bearer {stand_ins.TOKEN}", "host": "models-shadow", "seldon_puid": "other"}
    assert httpx.post(url, headers=headers, json={}, trust_env=False).status_code == 200
    [request] = asked(stand_ins, 1)
    assert not request["host"].endswith("-shadow")
    assert "seldon_puid" not in request


def test_what_the_router_refuses_without_words_has_a_reason(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    answer = stand_ins.ask("/api%2fv1.0/predictions")
    assert answer.status_code == 400
    assert "path" in answer.json()["reason"]


def test_a_dead_shadow_harms_nobody(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1, challenger=2, shadow=True))
    stand_ins.break_down(2, "gone")
    stand_ins.crash(2)
    until(lambda: 2 not in stand_ins.traffic.seen().ready)
    _, position = stand_ins.traffic.answers("")
    assert stand_ins.send(20) == [1] * 20
    assert not any(answer.failed for answer in measured(stand_ins, position, 20))


def test_what_the_challenger_fails_the_champion_answers_and_it_counts_against_the_challenger(
    stand_ins: StandIns,
) -> None:
    serve(stand_ins, HALF)
    _, position = stand_ins.traffic.answers("")
    answers = [stand_ins.ask(x_status_v2="500") for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-model-variant"] for answer in answers} == {"v1"}
    found = measured(stand_ins, position, 30)
    assert {answer.version for answer in found} == {1, 2}
    assert all(answer.failed == (answer.version == 2) for answer in found)


def test_what_the_champion_fails_is_told_as_it_is_and_not_tried_again(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    _, position = stand_ins.traffic.answers("")
    codes = [stand_ins.ask(x_status_v1="500").status_code for _ in range(20)]
    assert set(codes) == {200, 500}
    found = measured(stand_ins, position, 20)
    assert all(answer.failed == (answer.version == 1) for answer in found)
    assert len(asked(stand_ins, 1)) == codes.count(500)


def test_a_bad_request_is_nobodys_fault(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    _, position = stand_ins.traffic.answers("")
    assert {stand_ins.ask(x_status_v1="400", x_status_v2="422").status_code for _ in range(20)} == {400, 422}
    assert not any(answer.failed for answer in measured(stand_ins, position, 20))


def test_a_request_that_the_challenger_may_have_answered_is_not_repeated(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1, challenger=2, weight_percent=99))
    _, position = stand_ins.traffic.answers("")
    codes = {}
    for number in range(6):
        codes[f"r{number}"] = stand_ins.ask(x_die_v2="yes", x_request_id=f"r{number}").status_code
        until(lambda: 2 in stand_ins.traffic.seen().ready)
    lost = {request for request, code in codes.items() if code != 200}
    assert lost
    assert not lost & {request["x-request-id"] for request in asked(stand_ins, 1)}
    found = measured(stand_ins, position, 6)
    assert {answer.request_id for answer in found if answer.version == 2 and answer.failed} >= lost


def test_a_challenger_killed_under_load_costs_only_what_was_in_flight_to_it(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    load = Load(stand_ins, clients=4)
    kills = 3
    with load.running():
        for _ in range(kills):
            load.more(100)
            before = stand_ins.variants.restarts.get(2, 0)
            stand_ins.crash(2)
            load.more(100)
            until(lambda before=before: stand_ins.traffic.seen().restarts.get(2, 0) > before)
            until(lambda: 2 in stand_ins.traffic.seen().ready)
    assert load.failed <= kills * 4, load.broken
    assert _routed(stand_ins) == HALF


def test_a_challenger_that_hangs_is_taken_out(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    pid = stand_ins.variants[2].pid
    assert pid is not None
    os.killpg(pid, signal.SIGSTOP)
    try:
        stand_ins.client.timeout = httpx.Timeout(3)

        def twenty_answers() -> bool:
            try:
                return stand_ins.send(20) == [1] * 20
            except httpx.TimeoutException:
                return False  # in flight to it, as long as the checks have not failed three times

        until(twenty_answers)
    finally:
        os.killpg(pid, signal.SIGCONT)
    stand_ins.client.timeout = httpx.Timeout(30)
    until(lambda: set(stand_ins.send(20)) == {1, 2})


def test_an_envoy_killed_under_load_costs_only_what_was_in_flight_to_it(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    load = Load(stand_ins, clients=4)
    kills = 4
    with load.running():
        for number in range(kills):
            load.more(100)
            both = stand_ins.gateway.pids
            os.kill(both[number % 2], signal.SIGKILL)
            load.more(100)
            until(lambda both=both: len(stand_ins.gateway.pids) == 2 and stand_ins.gateway.pids != both)
            until(lambda: all(stand_ins.gateway._has(one) for one in stand_ins.gateway._envoys.values()))
    # Of each client the request that it was on, and the next one where its connection was queued there just before.
    assert load.failed <= kills * 4 * 2, load.broken
    assert stand_ins.gateway.restarts == kills
    assert _routed(stand_ins) == HALF  # from the files, as they were


def test_both_envoys_killed_come_back_with_the_last_weights(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    _, position = stand_ins.traffic.answers("")
    stand_ins.send(10)
    first = measured(stand_ins, position, 10)
    for pid in stand_ins.gateway.pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: stand_ins.gateway.restarts == 2 and len(stand_ins.gateway.pids) == 2)

    def answers() -> bool:
        try:
            return stand_ins.ask().status_code == 200
        except httpx.TransportError:
            return False

    until(answers)
    assert _routed(stand_ins) == HALF
    # Positions and what was measured outlive them.
    assert measured(stand_ins, position, 11)[:10] == first


def test_a_champion_that_was_killed_is_back_at_once(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    stand_ins.crash(1)
    until(lambda: 1 in stand_ins.traffic.seen().restarts)
    until(lambda: 1 in stand_ins.traffic.seen().ready)
    assert set(stand_ins.send(40)) == {1, 2}


def test_a_slow_request_is_finished_by_the_version_that_goes(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    answers: list[httpx.Response] = []
    headers = {"authorization": f"Bearer {stand_ins.TOKEN}", "x-seconds-v1": "2"}
    url = stand_ins.gateway.url + PREDICTIONS
    thread = threading.Thread(
        target=lambda: answers.append(httpx.post(url, headers=headers, json={}, timeout=30, trust_env=False))
    )
    thread.start()
    until(lambda: stand_ins.gateway.under_way(["v1"]))
    serve(stand_ins, Serving(champion=2))
    assert stand_ins.send(3) == [2] * 3
    thread.join()
    assert answers[0].headers["x-model-variant"] == "v1"
    until(lambda: 1 not in stand_ins.variants.running)


def test_a_version_that_goes_is_let_end_by_itself(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    serve(stand_ins, Serving(champion=2))
    log = stand_ins.folder / "serving" / "v1.log"
    until(lambda: "flushed" in log.read_text())


def test_a_torn_file_leaves_the_last_routes_in_force(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    routes = stand_ins.folder / "gateway" / "files" / "routes.json"
    torn = routes.with_name(".torn")
    torn.write_text(routes.read_text()[:300])
    os.replace(torn, routes)
    assert set(stand_ins.send(40)) == {1, 2}
    assert _routed(stand_ins) == HALF
    serve(stand_ins, Serving(champion=1))  # and the next file is taken
    assert stand_ins.send(10) == [1] * 10


def test_a_body_that_is_too_long_is_refused_before_it_reaches_a_variant(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    _, position = stand_ins.traffic.answers("")
    answer = stand_ins.client.post(PREDICTIONS, content=b"0" * (17 << 20))
    assert answer.status_code == 413
    assert answer.json()["code"] == 413
    assert stand_ins.ask(x_request_id="next").status_code == 200
    assert [found.request_id for found in measured(stand_ins, position, 1)] == ["next"]
    assert len(asked(stand_ins, 1)) == 1


def test_the_files_are_for_their_owner_only(stand_ins: StandIns) -> None:
    for path in (stand_ins.folder / "gateway" / "files").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    for name in "ab":
        assert (stand_ins.folder / "gateway" / name / "admin.sock").stat().st_mode & 0o077 == 0


def test_stopping_ends_every_process_and_answers_what_is_under_way(stand_ins: StandIns) -> None:
    serve(stand_ins, HALF)
    family = [psutil.Process(pid) for pid in (*stand_ins.gateway.pids, *_pids(stand_ins))]
    assert len(family) == 4
    answers: list[int] = []
    headers = {"authorization": f"Bearer {stand_ins.TOKEN}", "x-seconds-v1": "1", "x-seconds-v2": "1"}
    url = stand_ins.gateway.url + PREDICTIONS
    thread = threading.Thread(
        target=lambda: answers.append(httpx.post(url, headers=headers, json={}, trust_env=False).status_code)
    )
    thread.start()
    until(lambda: stand_ins.gateway.under_way([""]))
    stand_ins.traffic.stop()
    thread.join()
    assert answers == [200]
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert list((stand_ins.folder / "pids").iterdir()) == []


def _pids(rig: StandIns) -> list[int]:
    return [pid for version in rig.variants.running if (pid := rig.variants[version].pid) is not None]


def test_what_happens_is_told_in_words(stand_ins: StandIns) -> None:
    serve(stand_ins, Serving(champion=1))
    serve(stand_ins, HALF)
    stand_ins.break_down(2, "no room left")
    stand_ins.crash(2)
    until(lambda: any("no room left" in line for line in stand_ins.said))
    said = "\n".join(stand_ins.said)
    assert "v1 serves, v2 answers 50 %" in said
    assert re.search(r"v2 was ended by signal 9; starting it again in 0\.1 s", said)
    assert re.search(r"v2 ended with exit code 1: no room left; starting it again in \d", said)
    stand_ins.mend(2)
    until(lambda: 2 in stand_ins.traffic.seen().ready)
    assert stand_ins.traffic.seen().failing == {}
