"""Where a command finds its platform, and what it refuses to believe."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from trimtab.app.settings import parse, render, settings
from trimtab.core.errors import Invalid

VALUES = {
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:15000",
    "AWS_ACCESS_KEY_ID": "AKTT",
    "AWS_SECRET_ACCESS_KEY": "from-the-file",
    "TRIMTAB_STATE_BUCKET": "trimtab-state",
    "TRIMTAB_URL": "http://127.0.0.1:15001",
}
ODD = {"A": "a b", "B": "quote ' and \" and $HOME `id`", "C": "", "D": "# no remark", "E": "back\\slash"}


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that the test may fill: `settings` writes to os.environ."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TRIMTAB_"))}
    monkeypatch.setattr(os, "environ", kept)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a private `.trimtab/env`."""
    (tmp_path / ".trimtab").mkdir()
    file = tmp_path / ".trimtab" / "env"
    file.write_text(render(VALUES))
    file.chmod(0o600)
    return tmp_path


def test_the_nearest_file_above_is_read_and_reaches_boto3(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    assert settings(folder / "a" / "b").url == "http://127.0.0.1:15001"
    assert os.environ["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:15000"
    assert "127.0.0.1" in os.environ["NO_PROXY"].split(",")


def test_a_complete_environment_wins_over_the_file(folder: Path) -> None:
    os.environ["TRIMTAB_STATE_BUCKET"] = "of-a-cluster"
    assert settings(folder).state_bucket == "of-a-cluster"
    assert "AWS_ENDPOINT_URL_S3" not in os.environ


def test_keys_and_profiles_for_another_store_do_not_mix_with_the_file(folder: Path) -> None:
    os.environ.update(
        AWS_PROFILE="work", AWS_SESSION_TOKEN="old", AWS_SECRET_ACCESS_KEY="of-aws", TRIMTAB_NAMESPACE="n"
    )
    assert settings(folder).namespace == "n"
    assert "AWS_PROFILE" not in os.environ
    assert "AWS_SESSION_TOKEN" not in os.environ
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "from-the-file"


def test_without_any_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"no TRIMTAB_STATE_BUCKET[\s\S]*trimtab up -f model.yaml"):
        settings(tmp_path)


def test_a_file_that_others_may_read_is_refused(folder: Path) -> None:
    (folder / ".trimtab" / "env").chmod(0o644)
    with pytest.raises(Invalid, match=r"others may read it \(mode 644\)[\s\S]*chmod 600"):
        settings(folder)


@pytest.mark.parametrize("line", ["A", "A B=1", "export A=1", "A='open", "1A=x", "A=1; rm -rf /"])
def test_a_line_that_is_no_assignment_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(Invalid, match=r"\.trimtab/env, line 2: needed KEY=VALUE"):
        parse(f"OK=1\n{line}\n", ".trimtab/env")


def test_what_is_written_reads_back_the_same_here_and_in_a_shell(tmp_path: Path) -> None:
    assert parse(render(ODD)) == ODD
    (tmp_path / "env").write_text(render(ODD))
    script = f'. {tmp_path / "env"}; printf \'%s\\n\' "$A" "$B" "$C" "$D" "$E"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == list(ODD.values())
