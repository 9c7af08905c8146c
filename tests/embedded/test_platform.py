"""The platform from Python, as the demo and other tests use it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from trimtab.app import settings
from trimtab.app.embedded import credentials, files
from trimtab.app.embedded.platform import Platform, with_settle
from trimtab.app.embedded.ports import is_free
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.spec import load

ROWS = "ts,x,y\n" + "".join(f"2026-01-01T{hour:02}:00:00,{hour},{2 * hour}\n" for hour in range(24))


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> float:
    """Seconds until the condition held."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.01)
    return time.monotonic() - begun


def test_an_upload_is_taken_in_by_the_stores_own_event(tmp_path: Path, spec_file: Path) -> None:
    with Platform(tmp_path, spec_file, listing_seconds=3600) as platform:
        wait_for(lambda: "starting" not in str(platform.loop.snapshot().held))
        platform.buckets.bucket("landing").put("small/a b+c.csv", ROWS.encode())
        wait_for(lambda: platform.loop.snapshot().uploads.get("ingested") == 1)


def test_without_events_the_listing_finds_it(tmp_path: Path, spec_file: Path) -> None:
    with Platform(tmp_path, spec_file, listing_seconds=0.2, webhook=False, serving=False) as platform:
        platform.buckets.bucket("landing").put("small/a.csv", ROWS.encode())
        wait_for(lambda: platform.loop.snapshot().uploads.get("ingested") == 1)
        assert platform.traffic is None
        assert "TRIMTAB_GATEWAY_URL" not in platform.variables


def test_the_environment_is_as_before_and_no_process_stays(
    tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Libraries that are imported meanwhile may set variables of their own.
    def ours() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "TRIMTAB_", "NO_PROXY"))}

    monkeypatch.setenv("AWS_PROFILE", "work")
    environ, children = ours(), set(psutil.Process().children(recursive=True))
    with Platform(tmp_path, spec_file, policy_clock="stream") as platform:
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ENDPOINT_URL_S3"] == platform.store.endpoint
        assert platform.environment.policy_clock == "stream"
    assert ours() == environ
    assert set(psutil.Process().children(recursive=True)) <= children


def test_the_gateway_says_as_json_that_nobody_serves_yet(tmp_path: Path, spec_file: Path) -> None:
    with Platform(tmp_path, spec_file) as platform:
        told = settings.parse((tmp_path / ".trimtab" / "env").read_text())
        headers = {"authorization": f"Bearer {told['TRIMTAB_GATEWAY_TOKEN']}"}
        url = f"{told['TRIMTAB_GATEWAY_URL']}/api/v1.0/predictions"
        answer = httpx.post(url, json={}, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (503, 503)
        assert "no version of small serves yet" in answer.json()["error"]
        # The listener's token is another one's.
        headers = {"authorization": f"Bearer {told['TRIMTAB_TOKEN']}"}
        assert httpx.post(url, json={}, headers=headers, trust_env=False).status_code == 401
        assert platform.traffic is not None
        assert platform.traffic.seen().ready == frozenset()
    port = int(told["TRIMTAB_GATEWAY_URL"].rpartition(":")[2])
    assert is_free(port)
    # The same address the next time.
    with Platform(tmp_path, spec_file) as platform:
        assert platform.environment.gateway_url == told["TRIMTAB_GATEWAY_URL"]


def test_without_a_serving_environment_the_gateway_says_what_is_missing(
    tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", str(tmp_path / "python"))
    with pytest.raises(Invalid, match=r"no serving environment[\s\S]*hint: `make"):
        Platform(tmp_path, spec_file, serving=True).start()
    with Platform(tmp_path, spec_file) as platform:
        headers = {"authorization": f"Bearer {platform.environment.gateway_token}"}
        answer = httpx.get(f"{platform.environment.gateway_url}/metadata", headers=headers, trust_env=False)
        assert answer.status_code == 503
        assert "no serving environment" in answer.json()["error"]


def test_credentials_from_before_there_was_a_gateway_get_its_token(tmp_path: Path) -> None:
    kept = {name: value for name, value in asdict(credentials.make()).items() if name != "gateway_token"}
    (tmp_path / credentials.FILE).write_text(json.dumps(kept))
    made = credentials.load_or_make(tmp_path)
    assert asdict(made) == {**kept, "gateway_token": made.gateway_token}
    assert credentials.load_or_make(tmp_path) == made


def test_a_full_disk_is_told_before_anything_starts(
    tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(Unavailable, match=r"MB free on the disk[\s\S]*hint: free some space"):
        Platform(tmp_path, spec_file).start()
    assert not (tmp_path / ".trimtab" / "store").exists()


def test_a_latency_that_nothing_here_can_measure_is_told_before_anything_starts(
    tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_SERVING_PYTHON", "none")
    limited = spec_file.read_text().replace("block: 12h,", "block: 12h, maxLatencyP99Milliseconds: 50,")
    spec_file.write_text(limited)
    with pytest.raises(Invalid, match="asks for at most 50 ms in it"):
        Platform(tmp_path, spec_file).start()
    assert not (tmp_path / ".trimtab" / "store").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, spec_file: Path) -> None:
    (tmp_path / ".trimtab").write_text("a file stands here")
    with pytest.raises(Invalid, match=r"cannot make the folder .*\.trimtab: File exists"):
        Platform(tmp_path, spec_file).start()


def test_torn_credentials_are_told_and_not_made_anew(tmp_path: Path, spec_file: Path) -> None:
    (tmp_path / ".trimtab").mkdir()
    (tmp_path / ".trimtab" / "credentials.json").write_text('{"access_key": "AK')
    with pytest.raises(Invalid, match=r"credentials\.json lacks access_key.*[\s\S]*hint: delete"):
        Platform(tmp_path, spec_file).start()
    assert not (tmp_path / ".trimtab" / "up.json").exists()


def test_settle_can_be_overridden_without_touching_the_rest(spec_file: Path) -> None:
    model = load(spec_file.read_text())
    changed = with_settle(model, 1.5)
    assert changed.spec.triggers.upload is not None
    assert changed.spec.triggers.upload.settle == timedelta(seconds=1.5)
    assert with_settle(changed, 0.0) == model
