"""Commands on specs, settings, keys, stores and states that will not do: a clear line, the next move, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.state import State
from trimtab.app.cli import main
from trimtab.app.settings import render
from trimtab.core.ports import Buckets

DayFile = Callable[..., bytes]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment that commands may fill."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
    monkeypatch.setattr(os, "environ", {**kept, "TRIMTAB_CACHE": str(tmp_path / "cache")})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command that must fail; returns its exit code and what it says on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "\nhint: " in said or "\n    hint: " in said
        assert isinstance(ended.value.code, int)
        return ended.value.code, said

    return run


GOOD_SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: small}
spec:
  data: {source: s3://landing/, format: csv, timestamp: ts, target: 'y', schema: {x: {type: float}, 'y': {type: float}}}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {primary: r2}
"""
SPECS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda file: None, "found no file model.yaml"),
    "a folder": (Path.mkdir, "model.yaml is a folder; a spec is a file"),
    "an empty file": (lambda file: file.write_bytes(b""), "model.yaml is empty; it needs a ContinuousModel"),
    "a parquet file": (lambda file: file.write_bytes(b"PAR1\x15\x04\xff\xfe"), "model.yaml is not UTF-8 text: byte 6"),
    "zeroes": (lambda file: file.write_bytes(bytes(512)), "line 1: found the control character U+0000"),
    "a large data file": (lambda file: file.write_bytes(b"1,2\n" * (1 << 19)), "2,097,152 bytes; a spec has at most"),
    "a link to itself": (lambda file: file.symlink_to(file.name), "model.yaml cannot be read"),
}


@pytest.mark.parametrize("command", [("check",), ("up",), ("backtest", "rows.csv")])
@pytest.mark.parametrize("case", SPECS)
def test_what_is_no_spec_starts_nothing(command: tuple[str, ...], case: str, here: Path, refused: Any) -> None:
    make, words = SPECS[case]
    make(here / "model.yaml")

    code, said = refused(command[0], "-f", "model.yaml", *command[1:])

    assert code == 2
    assert words in said
    assert not (here / ".trimtab").exists()


def test_the_installed_command_prints_no_traceback(here: Path) -> None:
    (here / "model.yaml").write_bytes(b"\x80\x81")
    program = Path(sys.executable).with_name("trimtab")

    done = subprocess.run(
        [program, "check", "-f", "model.yaml"], env=os.environ, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: model.yaml is not UTF-8 text")
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("check", "-f"),
        ("up", "-f"),
        ("init", "-o", "x.yaml"),
        ("backtest", "-f", "model.yaml"),
        ("test", "-f", "model.yaml", "--data"),
    ],
)
def test_a_text_where_a_file_is_to_be_named_is_told(words: tuple[str, ...], here: Path, refused: Any) -> None:
    (here / "model.yaml").write_text(GOOD_SPEC)

    code, said = refused(*words, "kind: ContinuousModel" * 20)

    assert code == 2
    assert "too long" in said
    assert "permissions" not in said
    assert len(said) < 300


def settle(here: Path, body: bytes) -> None:
    (here / ".trimtab").mkdir()
    file = here / ".trimtab" / "env"
    file.write_bytes(body)
    file.chmod(0o600)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfeA\x00=\x00", "env is not text: byte 0 is 0xff"),
        (b"TRIMTAB_STATE_BUCKET", "env, line 1: needed KEY=VALUE"),
        (b"AWS_ACCESS_KEY_ID=a\nTRIMTAB_STATE_BUCKET='sta", "env, line 2: needed KEY=VALUE"),
        (b"TRIMTAB_STATE_BUCKET=a\x00b\n", "env, line 1: needed KEY=VALUE"),
        (b"", "found no TRIMTAB_STATE_BUCKET"),
        (b"TRIMTAB_STATE_BUCKET=s\nAWS_ENDPOINT_URL_S3=localhost\n", "the S3 settings do not work"),
    ],
    ids=["binary", "half a line", "an open quote", "a zero byte", "empty", "an endpoint that is none"],
)
def test_a_damaged_env_file_is_told(body: bytes, words: str, here: Path, refused: Any) -> None:
    settle(here, body)

    code, said = refused("show", "bikes/v1")

    assert code == 2
    assert words in said


def test_a_platform_that_is_down_is_told_with_exit_code_1(here: Path, refused: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    settle(here, render({"TRIMTAB_STATE_BUCKET": "state", "AWS_ENDPOINT_URL_S3": address, **keys}).encode())

    code, said = refused("show", "bikes/v1")

    assert code == 1
    assert f"at {address} does not answer" in said
    assert "trimtab up" in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret is wrong for this access key"),
        ("AWS_ACCESS_KEY_ID", "AKTTUNKNOWN", "the access key is unknown there"),
        ("TRIMTAB_STATE_BUCKET", "no-such-bucket", "found no bucket no-such-bucket"),
    ],
)
def test_a_wrong_key_or_bucket_is_told_by_its_variable(
    name: str, value: str, words: str, store: Any, state_bucket: str, here: Path, refused: Any
) -> None:
    right = {**store.environment, "TRIMTAB_STATE_BUCKET": state_bucket}
    settle(here, render({**right, name: value}).encode())

    code, said = refused("show", "bikes/v1")

    assert code == 2
    assert words in said
    assert store.credentials.secret_key not in said


@pytest.fixture
def damaged(
    Rig: Any,  # noqa: N803
    buckets: Buckets,
    landing_bucket: str,
    state_bucket: str,
    tmp_path: Path,
    day_file: DayFile,
) -> Callable[[Callable[[State], str], bytes], State]:
    """A state with a champion, one of whose objects is then replaced."""

    def make(key_of: Callable[[State], str], body: bytes) -> State:
        rig = Rig(buckets, tmp_path / "rig", landing_bucket, state_bucket)
        rig.put("first.csv", day_file(0))
        rig.step()
        rig.register(rig.decisions()[0])
        os.environ["TRIMTAB_STATE_BUCKET"] = state_bucket
        rig.state.bucket.put(key_of(rig.state), body)
        state: State = rig.state
        return state

    return make


RECORDS: dict[str, tuple[Callable[[State], str], tuple[str, ...], bytes, str]] = {
    "half a version": (
        lambda state: state.layout.numbered("versions", 1), ("show", "bikes/v1"),
        b'{"number":1,"runKey"', "is no ModelVersion: the document: Invalid JSON",
    ),
    "a version of another shape": (
        lambda state: state.layout.numbered("versions", 1), ("show", "bikes"),
        b'{"number":"one"}', "is no ModelVersion: number: ",
    ),
    "an empty manifest": (
        lambda state: state.layout.numbered("manifests", 1), ("show", "bikes@champion"), b"", "is no Manifest",
    ),
    "zeroes for a decision": (
        lambda state: state.layout.numbered("decisions", 1), ("history", "bikes"), bytes(99), "is no Decision",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
def test_a_damaged_record_of_the_state_is_told_by_its_key(case: str, damaged: Any, refused: Any) -> None:
    key_of, command, body, words = RECORDS[case]
    state = damaged(key_of, body)

    code, said = refused(*command)

    assert code == 2
    assert f"{key_of(state)} {words}" in said
    assert state.bucket.get(key_of(state)).body == body


def test_an_object_of_somebody_else_among_the_records_is_passed_over(
    damaged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(lambda state: state.layout.numbered("versions") + ".DS_Store", b"\x00\x05")

    main(["show", "bikes"])

    assert "v1" in capsys.readouterr().out
