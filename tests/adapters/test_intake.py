"""An upload taken in: counted, set aside with reasons, compared, judged; repeated, interrupted, replaced, released."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trimtab.adapters import columns as tables
from trimtab.adapters.arrivals import assemble, entry_of, in_order, is_upload, list_source
from trimtab.adapters.intake import release, take_in
from trimtab.adapters.memory import MemoryBuckets
from trimtab.adapters.models import Champion, reference_of
from trimtab.adapters.rows import load_rows
from trimtab.adapters.state import State
from trimtab.core.errors import Invalid, Unavailable
from trimtab.core.records import IntakeOutcome, ModelVersion
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import load

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: demand}
spec:
  data:
    source: s3://demand/landing/
    format: csv
    timestamp: ts
    key: [ts]
    target: count
    schema:
      heat: {type: float, min: -30, max: 60, nullable: false}
      damp: {type: float, min: 0, max: 100}
      day: {type: category, values: [work, rest]}
      count: {type: float, min: 0}
    quality: {maxInvalidRowRatio: 0.05}
  training: {estimator: "sklearn.linear_model:LinearRegression"}
  evaluation: {primary: mean_absolute_error, metrics: [mean_absolute_error, r2]}
"""


def week(number: int, **changes: pl.Expr) -> pl.DataFrame:
    """168 hourly rows; heat goes by the season and lasts for days, the count follows it."""
    rng = np.random.default_rng(number)
    hours = np.arange(168) + 168 * number
    heat = 12 - 14 * np.cos(2 * np.pi * hours / 8766) + 5 * np.sin(2 * np.pi * hours / 24) + rng.normal(size=168)
    frame = pl.DataFrame(
        {
            "ts": [(START + timedelta(hours=int(hour))).isoformat(sep=" ") for hour in hours],
            "heat": heat.round(1),
            "damp": rng.uniform(20, 100, 168).round(),
            "day": ["rest" if hour // 24 % 7 > 4 else "work" for hour in hours],
            "count": (100 + 3 * heat).round(),
        }
    )
    return frame.with_columns(**changes)


@dataclass
class Plant:
    """One model's state and its source, in memory."""

    folder: Path
    spec: str = SPEC
    champion: Champion | None = None
    buckets: MemoryBuckets = field(default_factory=MemoryBuckets)

    @property
    def model(self) -> ContinuousModel:
        return load(self.spec)

    @property
    def state(self) -> State:
        """As another process would open it: nothing is remembered."""
        return State.open(self.buckets, "s3://state/default", "demand", cache=self.folder)

    def upload(self, name: str, body: bytes | pl.DataFrame) -> IntakeOutcome:
        landing = self.buckets.bucket("demand")
        landing.put(f"landing/{name}", body if isinstance(body, bytes) else body.write_csv().encode())
        return self.take(name)

    def take(self, name: str) -> IntakeOutcome:
        landing = self.buckets.bucket("demand")
        info = landing.head(f"landing/{name}")
        assert info is not None
        entry = entry_of(info, "demand", "default", "demand", "listing", NOW)
        self.state.ledger.see(entry)
        return take_in(self.state, landing, entry, self.model, self.champion, NOW)

    def rows(self, model: ContinuousModel | None = None) -> pl.DataFrame:
        """What a run would learn from now."""
        model = model or self.model
        dataset = assemble(self.state, list_source(self.buckets, model), model, self.buckets)
        return load_rows(self.state, dataset, model.spec.data)

    def objects(self) -> dict[str, bytes]:
        state = self.buckets.bucket("state")
        return {info.key: state.get(info.key).body for info in state.list("")}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def past(plant: Plant, weeks: int) -> None:
    """What came before, as one upload."""
    assert plant.upload("past.csv", pl.concat(week(number) for number in range(weeks))).state == "ingested"


def test_an_upload_becomes_a_partition_with_its_counts_and_times(plant: Plant) -> None:
    outcome = plant.upload("a.csv", week(0))
    assert (outcome.state, outcome.kind, outcome.reason) == ("ingested", "ok", "")
    part = outcome.partition
    assert part is not None
    assert (part.rows, part.labelled, part.quarantined) == (168, 168, 0)
    assert (part.first, part.last) == (START, START + timedelta(hours=167))
    assert outcome.validation["rows"] == 168
    assert outcome.drift["verdict"] == "wait"
    assert plant.state.data.profile(outcome.profile)["rows"] == [1] * 168
    assert plant.rows().height == 168


def test_bad_rows_are_set_aside_as_they_stood_and_the_others_go_on(plant: Plant) -> None:
    body = week(0).write_csv().encode().replace(b"\n", b"\nbroken line\n", 1)
    outcome = plant.upload("a.csv", body)
    part = outcome.partition
    assert part is not None
    assert (outcome.state, part.rows, part.quarantined) == ("ingested", 168, 1)
    aside = pl.read_parquet(plant.state.data.quarantined(part.id))
    assert aside.select("_row", "_raw").rows() == [(1, "broken line")]


def test_more_bad_rows_than_the_spec_allows_quarantine_the_file_with_the_counts(plant: Plant) -> None:
    outcome = plant.upload("a.csv", week(0, heat=pl.lit("hot")))
    assert (outcome.state, outcome.kind) == ("quarantined", "invalid_rows")
    assert "168 of 168 rows are invalid: heat: not a number" in outcome.reason
    assert outcome.hint
    assert outcome.partition is not None
    assert (outcome.partition.rows, outcome.partition.quarantined) == (0, 168)
    assert plant.rows().height == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "empty"),
        (b"ts,heat\n", "empty"),
        (b"PAR1 not really", "wrong_type"),
        (b"ts,heat,damp,day,count\n\xff\xfe\n", "unreadable"),
        (b"ts,heat\n2024-01-01,1\n", "columns"),
    ],
)
def test_a_file_that_cannot_be_read_is_quarantined_and_says_nothing_of_the_data(
    plant: Plant, body: bytes, kind: str
) -> None:
    outcome = plant.upload("bad.csv", body)
    assert (outcome.state, outcome.kind, outcome.drift) == ("quarantined", kind, {})
    assert outcome.reason
    assert outcome.hint
    assert plant.upload("good.csv", week(0)).state == "ingested"


def test_a_renamed_column_is_named_with_its_new_name(plant: Plant) -> None:
    past(plant, 10)
    outcome = plant.upload("r.csv", week(10).rename({"heat": "temperature", "day": "kind_of_day"}))
    assert (outcome.state, outcome.kind, outcome.drift["verdict"]) == ("quarantined", "renamed_column", "fixData")
    assert "column 'heat' is missing; 'temperature' looks the same" in outcome.reason
    assert "column 'day' is missing; 'kind_of_day' looks the same" in outcome.reason
    assert "rename 'kind_of_day' to 'day'" in outcome.hint or "rename 'temperature' to 'heat'" in outcome.hint


def test_an_extra_column_of_other_values_is_not_called_a_new_name(plant: Plant) -> None:
    past(plant, 10)
    outcome = plant.upload("r.csv", week(10).drop("heat").with_columns(height=pl.lit(8848.0)))
    assert outcome.kind == "columns"
    assert "missing column 'heat', undeclared column 'height'" in outcome.reason


def test_fahrenheit_is_quarantined_though_every_row_is_out_of_range_and_the_season_goes_on(plant: Plant) -> None:
    past(plant, 30)
    outcome = plant.upload("f.csv", week(30, heat=pl.col("heat") * 1.8 + 32))
    assert (outcome.state, outcome.kind, outcome.drift["verdict"]) == ("quarantined", "unit_change", "fixData")
    assert "column 'heat' looks like degrees Fahrenheit where degrees Celsius came before" in outcome.reason
    assert "export heat in degrees Celsius" in outcome.hint
    assert plant.upload("f.csv", week(30)).state == "ingested"


def test_the_same_bytes_under_another_key_are_a_duplicate_and_count_once(plant: Plant) -> None:
    first = plant.upload("a.csv", week(0))
    again = plant.upload("b.csv", week(0))
    assert (again.state, again.duplicate_of) == ("duplicate", first.entry)
    assert again.reason == "the same bytes as s3://demand/landing/a.csv"
    assert plant.rows().height == 168
    plant.buckets.bucket("demand").delete("landing/a.csv")
    assert plant.rows().height == 168  # its twin still stands in the source


def test_a_newer_object_under_the_same_key_takes_the_place_of_the_older(plant: Plant) -> None:
    plant.upload("a.csv", week(0))
    assert plant.upload("a.csv", week(0, count=pl.lit(5.0)).head(100)).state == "ingested"
    assert plant.rows()["count"].to_list() == [5.0] * 100


def test_a_corrected_row_replaces_the_one_of_its_key_and_a_deleted_object_leaves(plant: Plant) -> None:
    plant.upload("a.csv", week(0))
    plant.upload("b.csv", week(0, count=pl.lit(7.0)).head(10))
    assert plant.rows()["count"].to_list()[:11] == [7.0] * 10 + [week(0)["count"][10]]
    plant.buckets.bucket("demand").delete("landing/b.csv")
    assert plant.rows()["count"].to_list() == week(0)["count"].to_list()


def test_a_repetition_returns_the_first_outcome_and_writes_nothing(plant: Plant) -> None:
    first = plant.upload("a.csv", week(0))
    before = plant.objects()
    assert plant.take("a.csv") == first
    assert plant.objects() == before


@pytest.mark.parametrize("after", range(8))
def test_a_crash_before_any_write_leaves_what_the_next_process_completes(plant: Plant, after: int) -> None:
    """The store fails for good at the n-th write; another process then takes the entry in."""
    whole = Plant(plant.folder / "whole")
    whole.upload("a.csv", week(0).with_columns(heat=pl.when(pl.col("damp") > 98).then(None).otherwise("heat")))
    body = week(0).with_columns(heat=pl.when(pl.col("damp") > 98).then(None).otherwise("heat"))
    writes = [0]

    def fail(operation: str, key: str, done: bool) -> None:
        if operation.startswith("create") and not done and key.startswith("default/"):
            writes[0] += 1
            if writes[0] > after:
                raise Unavailable("the store is gone")

    plant.buckets.fail = fail
    with contextlib.suppress(Unavailable):
        plant.upload("a.csv", body)
    plant.buckets.fail = None
    outcome = plant.upload("a.csv", body)
    assert outcome.state == "ingested"
    content = {key: value for key, value in plant.objects().items() if "/ledger/" not in key}
    assert content == {key: value for key, value in whole.objects().items() if "/ledger/" not in key}


FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from trimtab.adapters import files
from trimtab.adapters.memory import MemoryBuckets
from trimtab.core.errors import Unavailable

bucket = MemoryBuckets().bucket("demand")
etag = bucket.put("a.csv", b"x" * 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with files.fetch(bucket, "a.csv", etag):
        pass
except Unavailable as error:
    print(error)
"""


def test_a_full_disk_is_no_verdict_on_the_file() -> None:
    found = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("cannot write a.csv to ")
    assert "hint: free some of the disk, or set TMPDIR" in found.stdout


def test_an_object_that_was_replaced_before_it_was_read_leaves_no_rows(plant: Plant) -> None:
    landing = plant.buckets.bucket("demand")
    landing.put("landing/a.csv", week(0).write_csv().encode())
    info = landing.head("landing/a.csv")
    assert info is not None
    entry = entry_of(info, "demand", "default", "demand", "listing", NOW)
    plant.state.ledger.see(entry)
    newer = plant.upload("a.csv", week(1))
    outcome = take_in(plant.state, landing, entry, plant.model, None, NOW)
    assert (newer.state, outcome.state, outcome.kind) == ("ingested", "quarantined", "gone")
    assert plant.rows().height == 168


def champion(plant: Plant, weeks: range, change: Callable[[ModelVersion], dict[str, Any]] = lambda v: {}) -> Champion:
    """A model of those weeks, as registered."""
    from sklearn.linear_model import LinearRegression

    from trimtab.serving import assembly

    data = plant.model.spec.data
    rows = plant.rows()
    rows = rows.filter(
        pl.col("ts").is_between(START + 7 * weeks.start * DAY, START + 7 * weeks.stop * DAY, closed="left")
    )
    pipeline = assembly.assemble(tables.schema_columns(data), LinearRegression(), "matrix")
    assembly.fit(pipeline, tables.to_columns(rows, tables.schema_columns(data)), tables.truth(rows, data), 1)
    version = ModelVersion(
        number=3,
        run_key="r",
        artifact="",
        evaluated_artifact="",
        dataset="",
        training_digest="",
        spec="",
        trained_from=rows["ts"].min(),
        trained_until=rows["ts"].max(),
        rows=rows.height,
        estimator="sklearn.linear_model:LinearRegression",
        seed=0,
        metrics={},
        evaluation={},
        reference=plant.state.data.put_profile(reference_of(pipeline, rows, data)),
        lineage={},
        training_seconds=0,
        fits=1,
        recorded_at=NOW,
    )
    return Champion(version, pipeline)


DAY = timedelta(days=1)


def test_new_labelled_rows_judge_the_live_champion_before_they_are_learned(plant: Plant) -> None:
    past(plant, 8)
    plant.champion = champion(plant, range(8))
    judged = plant.upload("w08.csv", week(8, count=pl.when(pl.int_range(pl.len()) < 68).then("count"))).judgement
    assert judged is not None
    assert (judged.version, judged.rows) == (3, 68)
    assert set(judged.metrics) == {"mean_absolute_error", "r2"}
    assert judged.numerator / judged.denominator == pytest.approx(judged.metrics["mean_absolute_error"])
    assert judged.metrics["mean_absolute_error"] < 1


def test_rows_that_the_champion_may_have_learned_do_not_judge_it(plant: Plant) -> None:
    past(plant, 8)
    plant.champion = champion(plant, range(8))
    assert plant.upload("again.csv", week(3, count=pl.col("count") + 50)).judgement is None
    both = pl.concat([week(7, damp=pl.lit(50.0)), week(8).head(10)])
    judged = plant.upload("both.csv", both).judgement
    assert judged is not None
    assert judged.rows == 10


def test_before_the_first_champion_all_files_so_far_are_the_reference(plant: Plant) -> None:
    for number in range(4):
        plant.upload(f"w{number}.csv", week(number))
    report = plant.upload("w4.csv", week(4)).drift
    assert report["referenceBatches"] == 4
    assert "p cannot be below 0.200" in report["reason"]


def test_the_reference_of_the_champion_measures_drift_of_columns_and_predictions(plant: Plant) -> None:
    past(plant, 40)
    plant.champion = champion(plant, range(40))
    report = plant.upload("w40.csv", week(40)).drift
    assert report["referenceBatches"] >= 39
    assert {"heat", "(prediction)", "count"} <= {column["column"] for column in report["columns"]}
    moved = plant.upload("w41.csv", week(41, damp=pl.lit(100.0) - pl.col("damp") / 20)).drift
    assert (moved["verdict"], moved["kind"]) == ("retrain", "covariate")
    assert moved["reason"].startswith("damp moved further")


def test_a_release_lets_the_valid_rows_in_and_lifts_the_veto(plant: Plant) -> None:
    past(plant, 30)
    plant.spec = plant.spec.replace("max: 60", "max: 200")
    held = plant.upload("f.csv", week(30, heat=pl.col("heat") * 1.8 + 32))
    assert held.kind == "unit_change"
    landing, entry = plant.buckets.bucket("demand"), plant.state.ledger.entry(held.entry)
    before = plant.rows().height
    released = release(plant.state, landing, entry, plant.model, None, NOW)
    assert (released.state, released.drift["verdict"]) == ("ingested", "wait")
    assert plant.state.ledger.outcome(held.entry) == released
    assert plant.rows().height == before + 168
    with pytest.raises(Invalid, match="is ingested"):
        release(plant.state, landing, entry, plant.model, None, NOW)


def test_a_released_file_judges_the_champion_before_it_is_learned(plant: Plant) -> None:
    past(plant, 8)
    plant.champion = champion(plant, range(8))
    held = plant.upload("w8.csv", week(8, heat=pl.when(pl.col("damp") > 90).then(pl.lit("hot")).otherwise("heat")))
    assert (held.kind, held.judgement) == ("invalid_rows", None)
    landing, entry = plant.buckets.bucket("demand"), plant.state.ledger.entry(held.entry)
    released = release(plant.state, landing, entry, plant.model, plant.champion, NOW)
    assert released.judgement is not None
    assert (released.judgement.version, released.judgement.rows) == (3, released.partition.rows)


def test_a_released_file_stays_in_when_the_data_section_changes(plant: Plant) -> None:
    plant.upload("a.csv", week(0))
    held = plant.upload("b.csv", week(1, heat=pl.when(pl.col("damp") > 90).then(pl.lit("hot")).otherwise("heat")))
    assert held.kind == "invalid_rows"
    release(plant.state, plant.buckets.bucket("demand"), plant.state.ledger.entry(held.entry), plant.model, None, NOW)
    before = plant.rows()
    plant.spec = plant.spec.replace("max: 60", "max: 70")
    assert plant.rows().equals(before)


def test_what_has_no_valid_row_is_not_released(plant: Plant) -> None:
    held = plant.upload("a.csv", week(0, heat=pl.lit("hot")))
    entry = plant.state.ledger.entry(held.entry)
    with pytest.raises(Invalid, match="found no valid row"):
        release(plant.state, plant.buckets.bucket("demand"), entry, plant.model, None, NOW)


def test_a_changed_data_section_reads_the_standing_files_again(plant: Plant) -> None:
    plant.upload("a.csv", week(0))
    plant.upload("b.csv", week(1, heat=pl.when(pl.col("damp") > 98).then(55.0).otherwise("heat")))
    assert plant.rows().height == 336
    plant.spec = plant.spec.replace("max: 60", "max: 50").replace("damp: {type: float", "damp: {type: int")
    rows = plant.rows()
    assert rows["heat"].max() <= 50
    assert 168 < rows.height < 336
    assert rows["damp"].dtype == pl.Int64
    again = plant.rows()
    assert again.equals(rows)


def test_a_window_of_rows_reads_only_the_partitions_it_touches(plant: Plant) -> None:
    for number in range(6):
        plant.upload(f"w{number}.csv", week(number))
    data = plant.model.spec.data
    dataset = assemble(plant.state, list_source(plant.buckets, plant.model))
    for name in {part.id for part in dataset.partitions[:3]}:
        plant.buckets.bucket("state").delete(plant.state.layout.partition(name))
    state = State.open(plant.buckets, "s3://state/default", "demand", cache=plant.folder / "fresh")
    rows = load_rows(state, dataset, data, START + 28 * DAY, START + 35 * DAY, columns=["count"])
    assert rows.columns == ["count"]
    assert rows.height == 168


def test_shuffled_uploads_notified_many_times_end_as_one_row_each(plant: Plant) -> None:
    rng = random.Random(7)
    rows = week(0)
    parts = [rows[start : start + 8] for start in range(0, 168, 8)]
    for number, part in enumerate(parts):
        plant.buckets.bucket("demand").put(f"landing/{number:03}.csv", part.write_csv().encode())
    names = [f"{number:03}.csv" for number in range(len(parts))] * 3
    rng.shuffle(names)
    for name in names:
        plant.take(name)
    outcomes = plant.state.ledger.outcomes().values()
    assert [o.state for o in outcomes] == ["ingested"] * 21
    assert len({o.partition.id for o in outcomes if o.partition}) == 21
    assert plant.rows()["count"].to_list() == rows["count"].to_list()


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("landing/a.csv", True),
        ("landing/2024/01/a b+c.csv", True),
        ("landing/", False),
        ("landing/2024/", False),
        ("elsewhere/a.csv", False),
        ("landing/_SUCCESS", False),
        ("landing/_temporary/0/a.csv", False),
        ("landing/.uploads/x/0001.part", False),
        ("landing/.a.csv.crc", False),
    ],
)
def test_folders_parts_and_hidden_files_are_no_uploads(plant: Plant, key: str, is_one: bool) -> None:
    assert is_upload(key, plant.model) is is_one


def test_arrivals_of_one_second_have_one_order(plant: Plant) -> None:
    landing = plant.buckets.bucket("demand")
    for name in "cab":
        landing.put(f"landing/{name}.csv", b"x")
    listing = list(list_source(plant.buckets, plant.model))
    backwards = in_order(reversed(listing))
    assert backwards == in_order(listing)
