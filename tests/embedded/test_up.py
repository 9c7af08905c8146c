"""`trimtab up`, `down` and `doctor` as their user starts them: processes, beside each other."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from trimtab.app import settings

# One platform for all of them, so all in one worker.
shared = pytest.mark.xdist_group("up")


def values(folder: Path) -> dict[str, str]:
    return settings.read(folder / ".trimtab" / "env")


@shared
def test_the_settings_are_private_and_lead_to_the_listener(running: Any) -> None:
    assert stat.S_IMODE((running.folder / ".trimtab" / "env").stat().st_mode) == 0o600
    env = values(running.folder)
    assert httpx.get(f"{env['TRIMTAB_URL']}/healthz").status_code == 200
    status = f"{env['TRIMTAB_URL']}/v1/models/small/status"
    assert httpx.get(status).status_code == 401
    assert httpx.get(status, headers={"Authorization": f"Bearer {env['TRIMTAB_TOKEN']}"}).json()["model"] == "small"


@shared
def test_no_secret_is_said_or_stands_in_a_command_line(running: Any) -> None:
    env = values(running.folder)
    lines = [" ".join(member.cmdline()) for member in (psutil.Process(running.process.pid), *running.family())]
    for secret in (env["TRIMTAB_TOKEN"], env["AWS_SECRET_ACCESS_KEY"]):
        assert not [line for line in [*lines, running.said()] if secret in line]


@shared
def test_a_second_up_says_who_runs_and_changes_nothing(running: Any, command: Any) -> None:
    second = command(running.folder, "up", "-f", "model.yaml")
    assert second.returncode == 2
    assert f"process {running.process.pid} for model small, since 20" in second.stderr
    assert values(running.folder)["TRIMTAB_URL"] in second.stderr
    assert "trimtab down" in second.stderr
    assert httpx.get(f"{values(running.folder)['TRIMTAB_URL']}/healthz").status_code == 200


@shared
def test_doctor_sees_a_sound_platform(running: Any, command: Any) -> None:
    done = command(running.folder, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0
    assert checks["platform"]["found"].startswith(f"runs: process {running.process.pid}")
    assert checks["conditional writes"]["level"] == "ok"
    assert checks["state default/small/specs"]["found"].startswith("1 objects")


@shared
def test_doctor_fails_where_others_may_read_the_keys(running: Any, command: Any) -> None:
    file = running.folder / ".trimtab" / "env"
    file.chmod(0o640)
    try:
        done = command(running.folder, "doctor")
    finally:
        file.chmod(0o600)
    assert done.returncode == 1
    assert f"chmod 600 {file}" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, "down"])
def test_it_stops_and_leaves_no_process(start_up: Any, command: Any, how: signal.Signals | str) -> None:
    up = start_up()
    up.wait_until("is ready")
    family = up.family()
    assert family
    if isinstance(how, signal.Signals):
        up.process.send_signal(how)
    else:
        done = command(up.folder, how)
        assert done.returncode == 0
        assert done.stdout.startswith(f"stopped process {up.process.pid}")
    assert up.process.wait(timeout=60) == 0
    assert up.said().rstrip().endswith("stopped; data and state are kept in .trimtab")
    assert not [member for member in family if member.is_running()]
    assert list((up.folder / ".trimtab" / "pids").iterdir()) == []
    assert command(up.folder, "down").stdout == "nothing runs here\n"


def test_it_stops_while_it_starts(start_up: Any) -> None:
    up = start_up()
    up.wait_until("starting the store")
    up.process.terminate()
    assert up.process.wait(timeout=60) == 0
    assert not (up.folder / ".trimtab" / "up.json").exists()
    assert list((up.folder / ".trimtab" / "pids").glob("*")) == []


def test_a_killed_store_comes_back_at_its_address(start_up: Any) -> None:
    up = start_up()
    up.wait_until("is ready")
    endpoint = values(up.folder)["AWS_ENDPOINT_URL_S3"]
    [store] = [member for member in up.family() if "weed" in member.exe()]
    store.kill()
    up.wait_until(f"the store is back at {endpoint}")
    assert httpx.get(endpoint).status_code == 403  # it answers, and knows us no better than before


def test_after_a_kill_the_next_up_ends_the_leftovers_and_goes_on(start_up: Any, command: Any) -> None:
    up = start_up()
    up.wait_until("is ready")
    [store] = [member for member in up.family() if "weed" in member.exe()]
    token = values(up.folder)["TRIMTAB_TOKEN"]
    store.suspend()  # it cannot follow its parent, as one in the middle of a long write may not
    up.process.kill()
    up.process.wait()
    assert "of a killed platform: store" in command(up.folder, "doctor").stdout
    decided = up.said().count("ignored: no labelled rows")
    again = start_up()
    again.wait_until("ignored: no labelled rows", times=decided + 1)  # it has the lease, and did not wait for it
    assert "standing by" not in again.said()
    assert not store.is_running()
    assert f"ended process {store.pid} (store)" in again.said()
    assert values(up.folder)["TRIMTAB_TOKEN"] == token


def test_down_ends_what_a_killed_up_left(start_up: Any, command: Any) -> None:
    up = start_up()
    up.wait_until("is ready")
    [store] = [member for member in up.family() if "weed" in member.exe()]
    store.suspend()
    up.process.kill()
    up.process.wait()
    done = command(up.folder, "down")
    assert (done.returncode, done.stdout) == (0, f"ended what a killed platform left: store (process {store.pid})\n")
    assert not store.is_running()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("Ridge", "Rigde"), "Rigde"),
        (("s3://landing/small/", "s3://trimtab-state/small/"), "trimtab's own state"),
        (("metrics:", "metrix:"), "metrix"),
    ],
)
def test_a_wrong_spec_starts_nothing(spec_file: Path, command: Any, change: tuple[str, str], complaint: str) -> None:
    spec_file.write_text(spec_file.read_text().replace(*change))
    done = command(spec_file.parent, "up", "-f", "model.yaml")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (spec_file.parent / ".trimtab").exists()


def test_a_taken_port_is_refused_and_nothing_stays(spec_file: Path, command: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = command(spec_file.parent, "up", "-f", "model.yaml", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr
    assert not (spec_file.parent / ".trimtab" / "up.json").exists()
    assert not (spec_file.parent / ".trimtab" / "store").exists()


def test_an_edited_spec_is_taken_up_while_the_gateway_and_the_store_run_on(start_up: Any, command: Any) -> None:
    up = start_up()
    up.wait_until("is ready")
    file = up.folder / "model.yaml"
    before = {member.pid for member in up.family()}
    port = values(up.folder)["TRIMTAB_URL"]
    assert "has not changed" in command(up.folder, "reload").stdout
    good = file.read_text()
    file.write_text(good.replace("spec:", "spec:\n  suspend: true", 1))
    done = command(up.folder, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    assert {member.pid for member in up.family()} == before
    assert values(up.folder)["TRIMTAB_URL"] == port
    assert httpx.get(f"{port}/healthz").status_code == 200
    assert "spec.suspend is true" in command(up.folder, "status").stdout


def test_a_broken_edit_is_refused_and_the_platform_goes_on(start_up: Any, command: Any) -> None:
    up = start_up()
    up.wait_until("is ready")
    file = up.folder / "model.yaml"
    good = file.read_text()
    file.write_text(good.replace("spec:", "spec:\n  suspended: true", 1))
    done = command(up.folder, "reload")
    assert done.returncode == 2
    assert "suspended" in done.stderr
    for edit in (("name: small", "name: other"), ("spec:", "spec:\n  alerts: [{urlFrom: {env: NOT_THERE}}]")):
        file.write_text(good.replace(*edit, 1))
        done = command(up.folder, "reload")
        assert done.returncode == 2
        assert "small goes on by the former spec" in done.stderr
    assert "NOT_THERE" in done.stderr
    assert httpx.get(f"{values(up.folder)['TRIMTAB_URL']}/healthz").status_code == 200


def test_without_a_platform_there_is_nothing_to_reload(tmp_path: Path, command: Any) -> None:
    done = command(tmp_path, "reload")
    assert done.returncode == 2
    assert "trimtab up -f model.yaml" in done.stderr
