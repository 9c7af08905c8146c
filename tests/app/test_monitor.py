"""The monitor over a real model, a real prediction log and real labels: what it finds, and what that starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from trimtab.adapters import columns as tables
from trimtab.adapters import estimators
from trimtab.adapters.models import reference_of, store_artifact
from trimtab.adapters.state import State
from trimtab.app.monitor import Monitor
from trimtab.core.errors import Conflict, Unavailable
from trimtab.core.monitor.findings import Findings
from trimtab.core.ports import Answer
from trimtab.core.predictions import Label, PredictionLine
from trimtab.core.records import Manifest, ModelVersion
from trimtab.core.triggering import StartRun
from trimtab.serving import assembly

START = datetime(2012, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TRAINED = 60 * 24  # hours that the champion learned from
Rig = Any
PERFORMANCE = "    performance: {metric: mean_absolute_error, worseThan: 1.5, overRows: 1000}\n"
DRIFT = "    drift: {falseAlarmsPerYear: 12, minEffect: 0.1}\n"
UPLOAD = "    upload: {minNewRows: 10, settle: 0s}\n"
# A champion that is never retrained by uploads alone: what starts a run is what the monitor found.
QUIET = "    upload: {minNewRows: 1000000, settle: 0s}\n"


def rows(hours: range, seed: int = 0, error: float = 1.0, heat: float = 0.0) -> pl.DataFrame:
    """Hourly rows: the count follows the heat, but for an error of that standard deviation; `heat` moves its mean."""
    random = np.random.default_rng(seed)
    warmth = heat + random.normal(size=len(hours))
    return pl.DataFrame(
        {
            "ts": [START + hour * HOUR for hour in hours],
            "heat": 10 + warmth,
            "count": 100 + 3 * (10 + warmth) + error * random.normal(size=len(hours)),
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def csv(table: pl.DataFrame) -> bytes:
    return table.with_columns(pl.col("ts").dt.to_string("iso:strict")).write_csv().encode()


class Site:
    """A rig with a real champion that learned the first hours, a log and labels."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.state: State = rig.state
        self.data = rig.model.spec.data
        self.traffic: Any = None
        self.woken = 0
        self.sent = 0
        rig.put("0.csv", csv(rows(range(TRAINED))))
        rig.take_in()
        self.champion = self.register()
        self.monitor = self.open()

    def open(self) -> Monitor:
        def woken() -> None:
            self.woken += 1

        rig = self.rig
        self.monitor = Monitor(rig.state, rig.model, rig.clock, rig.intake, lambda: True, woken, self.traffic)
        rig.controller.findings = lambda: self.monitor.findings
        return self.monitor

    def register(self, at: int = TRAINED) -> ModelVersion:
        """A version that learned what stands there, registered as champion."""
        learned = rows(range(at))
        training = self.rig.model.spec.training
        columns = tables.schema_columns(self.data)
        pipeline = assembly.assemble(columns, estimators.build(training, ""), training.input)
        assembly.fit(pipeline, tables.to_columns(learned, columns), tables.truth(learned, self.data), 1)
        digest = store_artifact(self.state, pipeline)
        reference = self.state.data.put_profile(reference_of(pipeline, learned, self.data))
        return self._publish(digest, reference, learned["ts"].max())  # type: ignore[arg-type]

    def _publish(self, artifact: str, reference: str, until: datetime) -> ModelVersion:
        now = datetime.now(UTC)
        number = len(self.state.registry.manifests()) + 1
        key = f"run-{number}"
        version = self.state.registry.add_version(
            lambda number: ModelVersion(
                number=number,
                run_key=key,
                artifact=artifact,
                evaluated_artifact=artifact,
                dataset="",
                training_digest=self.rig.controller._training_digest(),
                spec="",
                trained_from=START,
                trained_until=until,
                rows=TRAINED,
                estimator=self.rig.model.spec.training.estimator,
                seed=0,
                metrics={},
                evaluation={},
                reference=reference,
                lineage={},
                training_seconds=0.0,
                fits=1,
                recorded_at=now,
            )
        )
        self.state.registry.publish(
            lambda manifest: Manifest(
                number=0,
                champion=version.number,
                challenger=None,
                previous=None,
                cause="made for a test",
                run_key=key,
                recorded_at=now,
            )
        )
        return version

    def upload(self, name: str, table: pl.DataFrame) -> None:
        self.rig.put(name, csv(table))
        self.rig.take_in()

    def ask(self, table: pl.DataFrame, seconds: float = 0.01, at: float = 1e9, failing: int = 0) -> list[str]:
        """Log one request a row, as the model server does; returns the request ids."""
        champion = self.rig.intake.champion.get()
        said = champion.predict(table, self.data).values
        lines = []
        for place, (row, value) in enumerate(zip(table.iter_rows(named=True), said, strict=True)):
            failed = place < failing
            lines.append(
                PredictionLine(
                    kind="failure" if failed else "prediction",
                    id=f"r{self.sent + place}",
                    at=at + place / 10,
                    version=champion.version.number,
                    seconds=seconds,
                    rows=1,
                    features={} if failed else {"heat": [row["heat"]]},
                    passed={} if failed else {"ts": [row["ts"].isoformat()]},
                    predictions=[] if failed else [float(value)],
                    error="it raised" if failed else "",
                )
            )
        body = b"".join(line.to_json() + b"\n" for line in lines)
        self.state.bucket.create(self.state.layout.predictions(f"v1-{self.sent}", 0), body)
        ids = [line.id for line in lines]
        self.sent += len(lines)
        return ids

    def label(self, ids: list[str], table: pl.DataFrame) -> None:
        now = datetime.now(UTC).timestamp()
        pairs = zip(ids, table["count"], strict=True)
        self.state.labels.add([Label(id=id, value=value, at=now, received=now) for id, value in pairs])

    def advance(self, hours: int) -> None:
        self.rig.clock.advance(START + hours * HOUR)

    @property
    def stored(self) -> Findings:
        key = self.state.layout.current("monitor")
        return Findings.from_json(self.state.bucket.get(key).body)


@pytest.fixture
def site(make_rig: Callable[..., Rig]) -> Callable[..., Site]:
    def make(triggers: str = QUIET, labels: str = "") -> Site:
        changes = {UPLOAD: triggers}
        if labels:
            changes["    target: count\n"] = f"    target: count\n    labels: {labels}\n"
        return Site(make_rig(**changes))

    return make


def after(count: int, seed: int = 1, start: int = TRAINED, **how: float) -> pl.DataFrame:
    return rows(range(start, start + count), seed=seed, **how)


# Performance


def test_a_champion_as_good_as_ever_is_measured_and_accused_of_nothing(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.upload("1.csv", after(600))

    (found,) = there.monitor.look().performance

    assert (found.version, found.source, found.rows, found.mature) == (1, "uploads", 600, 600)
    assert found.value.point == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)
    assert found.value.low is not None
    assert found.value.high is not None
    assert found.value.low < found.value.point < found.value.high
    assert found.naive is not None
    assert found.naive > found.value.point
    assert not found.proven
    assert "not proven to be above the limit 1.5" in found.reason


def test_uploads_that_prove_a_worse_champion_start_a_run_with_the_figures(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.upload("1.csv", after(600, error=3.0))
    (found,) = there.monitor.look().performance

    verdict = there.rig.controller.advance()

    assert found.proven
    assert found.bound is not None
    assert 1.5 < found.bound < found.value.point
    assert isinstance(verdict, StartRun)
    assert verdict.reason == "performance"
    told = verdict.evidence["performance"]
    assert (told["version"], told["source"], told["limit"]) == (1, "uploads", 1.5)
    assert "proven above" in told["found"][0]


def test_the_same_rows_start_one_run_and_newer_ones_another(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.upload("1.csv", after(600, error=3.0))
    there.monitor.look()
    there.rig.controller.advance()
    there.rig.conclude(there.rig.decisions()[0], "rejected")
    there.rig.launcher.end(there.rig.launcher.requests[0].run_id)

    there.advance(100_000)  # every back-off is over
    there.upload("2.csv", after(50, seed=2, start=TRAINED + 600, error=3.0))
    few = there.monitor.look().performance[0]
    there.rig.controller.advance()
    after_few = len(there.rig.decisions())
    there.upload("3.csv", after(600, seed=3, start=TRAINED + 650, error=3.0))
    again = there.monitor.look().performance[0]
    there.rig.controller.advance()

    assert not few.proven
    assert "50 new rows prove nothing" in few.reason
    assert after_few == 1
    assert again.proven
    assert [decision.reason for decision in there.rig.decisions()] == ["performance", "performance"]


def test_labels_of_the_log_count_before_uploads_and_no_row_twice(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    asked = after(400, error=3.0)
    ids = there.ask(asked)
    there.label(ids[:300], asked.head(300))
    there.upload("1.csv", asked)  # the same rows, with their targets

    (found,) = there.monitor.look().performance

    assert (found.source, found.mature) == ("log", 300)
    assert found.missing_share == 0.25
    offline = np.abs(
        asked["count"].to_numpy()[:300] - there.rig.intake.champion.get().predict(asked, there.data).values[:300]
    ).mean()
    assert found.value.point == pytest.approx(offline, rel=1e-9)


def test_young_labels_are_counted_as_missing_and_prove_nothing(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE, labels="{maturity: 30d}")
    asked = after(400, error=3.0)
    there.label(there.ask(asked), asked)
    there.advance(TRAINED + 400)
    (young,) = there.monitor.look().performance
    there.advance(TRAINED + 400 + 30 * 24)
    (mature,) = there.monitor.look().performance

    assert (young.mature, young.missing_share, young.proven) == (0, 1.0, False)
    assert (mature.mature, mature.missing_share, mature.proven) == (400, 0.0, True)


def test_a_corrected_label_changes_the_figure(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    asked = after(300)
    ids = there.ask(asked)
    there.advance(TRAINED + 300)
    there.label(ids, asked.with_columns(pl.col("count") + 50))
    wrong = there.monitor.look().performance[0].value.point
    there.label(ids, asked)
    right = there.monitor.look().performance[0].value.point

    assert wrong == pytest.approx(50, rel=0.05)
    assert right == pytest.approx(0.8, rel=0.2)


# Inputs and answers


def test_requests_unlike_what_the_champion_learned_are_drift_and_start_a_run(site: Callable[..., Site]) -> None:
    there = site(QUIET + DRIFT)
    there.upload("1.csv", after(24))  # something to learn
    there.ask(after(20 * 24, heat=3.0))
    there.advance(TRAINED + 21 * 24)

    found = there.monitor.look()
    verdict = there.rig.controller.advance()

    assert found.inputs is not None
    assert found.inputs.columns == ("heat",)
    assert "further from the reference than its own 12 are (heat" in found.inputs.alarm
    assert isinstance(verdict, StartRun)
    assert verdict.reason == "drift"
    alerts = [entry for entry in there.rig.journal("alert") if entry.id.startswith("alert/drift/inputs/v1/")]
    assert len(alerts) == 1


def test_requests_like_what_it_learned_are_none(site: Callable[..., Site]) -> None:
    there = site(QUIET + DRIFT)
    there.ask(after(30 * 24))
    there.advance(TRAINED + 31 * 24)

    found = there.monitor.look().inputs

    assert found is not None
    # Sixty days of hourly rows were learned: five of them hold a hundred.
    assert (found.batch_seconds, found.batches) == (5 * 86_400, 6)
    assert found.alarm == ""


def test_a_batch_that_is_not_over_is_none_yet(site: Callable[..., Site]) -> None:
    there = site(QUIET + DRIFT)
    there.ask(after(20 * 24, heat=3.0))
    there.advance(TRAINED + 12)

    before = there.monitor.look().inputs
    there.advance(TRAINED + 21 * 24)
    later = there.monitor.look().inputs

    assert before is None
    assert later is not None
    assert later.batches == 4


def test_answers_and_inputs_far_from_the_reference_are_anomalies(site: Callable[..., Site]) -> None:
    there = site()
    now = datetime.now(UTC).timestamp() - 600
    there.ask(after(500, heat=30.0), at=now)

    found = there.monitor.look()

    assert found.answers[0].distance is not None
    assert found.answers[0].distance > 0.9
    measures = {anomaly.measure for anomaly in found.anomalies}
    assert "distance of the answers to the reference's" in measures
    assert any("heat that the reference never held" in measure for measure in measures)


def test_answers_like_the_reference_are_none(site: Callable[..., Site]) -> None:
    there = site()
    there.ask(after(1000), at=datetime.now(UTC).timestamp() - 600)

    found = there.monitor.look()

    assert found.answers[0].rows == 500
    assert found.anomalies == ()


# Service


class Gateway:
    """Answers in the gateway's log, one page at a time."""

    def __init__(self) -> None:
        self.log: list[Answer] = []
        self.down = False

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        if self.down:
            raise Unavailable("the gateway does not answer")
        start = int(position or 0)
        found = self.log[start : start + limit]
        return found, str(start + len(found))


@pytest.fixture
def served(site: Callable[..., Site]) -> Iterator[Site]:
    there = site()
    there.traffic = Gateway()
    there.open()
    return there


MINUTE = 1_700_000_040  # a whole minute


def answered(count: int, at: float = MINUTE, version: int = 1, failed: int = 0, seconds: float = 0.01) -> list[Answer]:
    return [Answer(at + 30 * place / count, version, place < failed, seconds) for place in range(count)]


def test_availability_and_latency_are_told_by_version_and_minute(served: Site) -> None:
    served.traffic.log = answered(200, failed=10) + answered(100, version=2, seconds=0.05)

    newest = served.monitor.look().newest_minutes()

    assert (newest[1].requests, newest[1].availability, newest[1].per_second) == (200, 0.95, 200 / 60)
    assert (newest[2].p50, newest[2].p99) == (50.0, 50.0)
    (anomaly,) = served.monitor.findings.anomalies
    assert (anomaly.version, anomaly.measure, anomaly.by) == (1, "availability", "threshold")


def test_a_minute_slower_than_the_hour_before_is_an_anomaly(served: Site) -> None:
    random = np.random.default_rng(1)
    for minute in range(30):
        usual = 0.010 + 0.0005 * random.normal()
        served.traffic.log += answered(60, at=MINUTE + 60 * minute, seconds=usual)
    served.traffic.log += answered(60, at=MINUTE + 60 * 30, seconds=0.040)

    found = served.monitor.look()

    assert {(anomaly.measure, anomaly.by) for anomaly in found.anomalies} == {
        ("median latency in ms", "band"),
        ("p99 latency in ms", "band"),
    }


def test_a_restart_counts_no_answer_twice(served: Site) -> None:
    served.traffic.log = answered(200)
    served.monitor.look()
    served.open()
    served.traffic.log += answered(50, at=MINUTE + 60)

    found = served.monitor.look()

    assert [(minute.start, minute.requests) for minute in found.minutes] == [(MINUTE, 200), (MINUTE + 60, 50)]


def test_without_a_gateway_the_model_servers_own_log_tells(site: Callable[..., Site]) -> None:
    there = site()
    there.ask(after(100), seconds=0.02, at=float(MINUTE), failing=5)

    (minute,) = there.monitor.look().minutes

    assert (minute.requests, minute.failures) == (100, 5)
    assert minute.p50 == 20.0


# Keeping and showing


def test_findings_stand_in_the_store_small(served: Site) -> None:
    served.ask(after(600), at=float(MINUTE))
    for minute in range(100):
        served.traffic.log += answered(30, at=MINUTE + 60 * minute)

    found = served.monitor.look()

    assert served.stored.minutes == found.minutes
    assert len(found.minutes) == 60
    assert len(served.state.bucket.get(served.state.layout.current("monitor")).body) < 20_000


def test_who_decides_is_woken_only_by_news(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.monitor.look()
    there.monitor.look()
    before = there.woken
    there.upload("1.csv", after(600, error=3.0))
    there.monitor.look()
    there.monitor.look()

    assert there.woken == before + 1


def test_of_two_that_write_findings_one_is_told_and_reads_again(site: Callable[..., Site]) -> None:
    there = site()
    there.monitor.look()
    other = there.open()
    there.upload("1.csv", after(300))
    other.look()
    there.upload("2.csv", after(300, start=TRAINED + 300))
    first, second = other, there.open()
    second.look()
    there.upload("3.csv", after(300, start=TRAINED + 600))

    with pytest.raises(Conflict):
        first.look()


def test_findings_of_a_former_champion_accuse_no_later_one(site: Callable[..., Site]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.upload("1.csv", after(600, error=3.0))
    found = there.monitor.look()

    assert found.worse(1) is not None
    assert found.worse(2) is None


def test_the_thread_looks_is_woken_by_uploads_and_ends(site: Callable[..., Site], wait_for: Callable[..., Any]) -> None:
    there = site(QUIET + PERFORMANCE)
    there.rig.intake.on_taken = there.monitor.wake
    there.monitor.start()
    try:
        wait_for(lambda: there.monitor.looks)
        there.upload("1.csv", after(600, error=3.0))
        wait_for(lambda: there.monitor.findings.worse(1))
    finally:
        there.monitor.stop()
    assert there.stored.worse(1) is not None
