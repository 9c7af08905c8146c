"""The demo's mishaps, on the real data: each is recognised for what it is, and the stream goes on undisturbed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from trimtab.adapters.batches import Batch, read_batches
from trimtab.app.demo.examples import example
from trimtab.app.demo.mishaps import MISHAPS, Mishap
from trimtab.app.demo.year import _holds
from trimtab.core.spec import load
from trimtab.pipelines.replay import Replay


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """2011, then every fortnight of 2012 up to the last mishap, each mishap before its good twin."""
    folder = example("bikeshare")
    text = (folder / "model.yaml").read_text(encoding="utf-8")
    # Few trees: here the files count, not the model.
    text = text.replace("seed: 0", "parameters: {max_iter: 10}").replace("floor: 0.7", "floor: 2")
    model = load(text)
    files = [folder / "data" / "2011.csv", folder / "data" / "2012.csv"]
    history, *year = read_batches(files, model, timedelta(weeks=2))
    replay = Replay(model, text, str(folder), tmp_path_factory.mktemp("cache"))
    replay.upload(history)
    for batch in (each for each in year if each.first and each.first.date() <= MISHAPS[-1].day):
        for mishap in MISHAPS:
            if _holds(batch, mishap.day):
                replay.upload(Batch(f"{mishap.name}.csv", mishap.spoil(batch.body), None, None))
        replay.upload(batch)
    return replay


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.name)
def test_each_mishap_is_recognised_and_set_aside(replayed: Replay, mishap: Mishap) -> None:
    (upload,) = (each for each in replayed.uploads if each.name == f"{mishap.name}.csv")
    assert (upload.state, upload.kind) == ("quarantined", mishap.kind)
    assert upload.decision != "train"


def test_the_good_files_after_them_are_taken_in_whole(replayed: Replay) -> None:
    good = [upload for upload in replayed.uploads if upload.state == "ingested"]
    assert len(good) == 1 + len(replayed.scores) == 20
    assert sum(score.rows for score in replayed.scores) == sum(upload.rows for upload in good[1:])


def test_a_renamed_columns_reason_names_both_names(replayed: Replay) -> None:
    (upload,) = (each for each in replayed.uploads if each.name == "renamed.csv")
    assert "'temp'" in upload.reason
    assert "'temperature'" in upload.reason


def test_fahrenheit_is_named(replayed: Replay) -> None:
    (upload,) = (each for each in replayed.uploads if each.name == "fahrenheit.csv")
    assert "degrees Fahrenheit where degrees Celsius came before" in upload.reason


def test_no_good_fortnight_of_the_year_is_taken_for_a_mishap(replayed: Replay) -> None:
    mishaps = {f"{mishap.name}.csv" for mishap in MISHAPS}
    assert {upload.kind for upload in replayed.uploads if upload.name not in mishaps} == {"ok"}
