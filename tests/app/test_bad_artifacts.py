"""Artifacts that are not what was registered, or hold what nobody trusts: never loaded, and nothing stops."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import trimtab
from trimtab.app.cli import main
from trimtab.core.errors import Invalid
from trimtab.core.ports import Buckets
from trimtab.serving import artifact, assembly

DayFile = Callable[..., bytes]


@pytest.fixture(scope="module")
def body() -> bytes:
    """A sound artifact."""
    pipeline = assembly.assemble((("heat", "float", ()),), LinearRegression(), "matrix")
    return artifact.dumps(assembly.fit(pipeline, {"heat": np.arange(20.0)}, np.arange(20.0), 1))


def flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


class RunsWhenUnpickled:
    """What a pickle can do: leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self.mark), "w"))


# What stands in the store under the registered digest, in place of the body.
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "a flipped byte": flipped,
    "its end is missing": lambda body: body[:-10],
    "nothing": lambda body: b"",
    "another model's": lambda body: artifact.dumps(Pipeline([("f", FunctionTransformer())])),
}
# What was registered with its own right digest.
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a function of the system": (
        lambda mark: skops.io.dumps(Pipeline([("f", FunctionTransformer(func=os.system))])),
        "holds types that are not trusted: posix.system",
    ),
    "a pickle": (lambda mark: pickle.dumps(RunsWhenUnpickled(mark)), "is no readable skops file"),
    "no archive at all": (lambda mark: b"not a model", "is no readable skops file"),
}


@pytest.fixture
def champion(
    Rig: Any,  # noqa: N803
    buckets: Buckets,
    landing_bucket: str,
    state_bucket: str,
    tmp_path: Path,
    day_file: DayFile,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[bytes], Any]:
    """A platform's state whose champion is this artifact, as commands run in this folder see it."""
    monkeypatch.setenv("TRIMTAB_STATE_BUCKET", state_bucket)
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def make(body: bytes) -> Any:
        rig = Rig(buckets, tmp_path / "cache", landing_bucket, state_bucket)
        rig.put("first.csv", day_file(0))
        rig.step()
        (tmp_path / "model").write_bytes(body)
        digest = rig.state.registry.put_artifact(tmp_path / "model")
        assert digest == hashlib.sha256(body).hexdigest()
        rig.register(rig.decisions()[0], artifact=digest)
        return rig

    return make


def goes_on(rig: Any, day_file: DayFile) -> str:
    """Uploads are taken in, unjudged; returns the problem that the status tells."""
    rig.put("second.csv", day_file(1))
    (outcome,) = rig.take_in()
    assert (outcome.state, outcome.judgement) == ("ingested", None)
    assert rig.intake.problem.startswith("v1 cannot judge new rows: ")
    return str(rig.intake.problem)


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_artifact_is_neither_loaded_nor_handed_out_and_stops_no_upload(
    champion: Any, body: bytes, damage: str, day_file: DayFile, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = champion(body)
    (version,) = rig.state.registry.versions()
    rig.state.bucket.put(rig.state.layout.artifact(version.artifact), DAMAGED[damage](body))

    with pytest.raises(Invalid, match="not what was registered") as refused:
        trimtab.load_model("bikes@champion")
    with pytest.raises(SystemExit) as ended:
        main(["get", "bikes/v1", "-o", "out"])

    said = capsys.readouterr()
    assert ended.value.code == 2
    assert f"its SHA-256 is {hashlib.sha256(DAMAGED[damage](body)).hexdigest()}" in said.err
    assert "hint: it was damaged or exchanged: take another version, or train again" in said.err
    assert "Traceback" not in said.err
    assert not list(Path("out").glob("*.skops"))
    assert refused.value.hint
    assert "not what was registered" in goes_on(rig, day_file)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_artifact_with_the_right_digest_is_never_run(
    champion: Any, case: str, tmp_path: Path, day_file: DayFile
) -> None:
    make, words = HOSTILE[case]
    rig = champion(make(tmp_path / "ran"))

    with pytest.raises(Invalid, match=words):
        trimtab.load_model("bikes@champion")

    assert words in goes_on(rig, day_file)
    assert not (tmp_path / "ran").exists()


def test_an_artifact_that_is_gone_is_told(champion: Any, body: bytes, day_file: DayFile) -> None:
    rig = champion(body)
    (version,) = rig.state.registry.versions()
    rig.state.bucket.delete(rig.state.layout.artifact(version.artifact))

    with pytest.raises(Invalid, match=r"found no .*artifacts/"):
        trimtab.load_model("bikes@champion")

    assert "found no" in goes_on(rig, day_file)
