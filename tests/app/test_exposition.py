"""What Prometheus reads: every figure under its name, by model and version, and nothing that is not known."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from trimtab.app.exposition import render
from trimtab.app.status import Serving, Status
from trimtab.core.bootstrap import Interval
from trimtab.core.monitor.answers import AnswerWindow
from trimtab.core.monitor.bands import Anomaly
from trimtab.core.monitor.findings import Findings, Load, told
from trimtab.core.monitor.inputs import InputDrift
from trimtab.core.monitor.performance import Performance
from trimtab.core.monitor.service import Minute

NOW = datetime(2012, 6, 1, tzinfo=UTC)
STATUS = Status(
    model="bikes",
    serving=Serving(7, NOW, NOW, {}),
    challenger=None,
    running=None,
    held=None,
    last=None,
    uploads={"seen": 5, "pending": 1, "ingested": 4},
    decisions=3,
    problems=("the store does not answer",),
)
PERFORMANCE = Performance(
    version=7,
    metric="roc_auc",
    source="log",
    rows=5000,
    mature=9000,
    missing_share=0.1,
    value=Interval(point=0.61, low=0.59, high=0.63),
    naive=0.5,
    limit=0.65,
    bound=0.64,
    confidence=0.95,
    proven=True,
    reason="v7: roc_auc 0.61 on the newest 5000 mature rows: proven below 0.64 at 95%, and 0.65 is the limit",
)
FOUND = Findings(
    champion=7,
    at=NOW,
    policy_at=NOW,
    minutes=(
        Minute(version=7, start=0, requests=10, failures=5, p50=1, p95=1, p99=1),
        Minute(version=7, start=60, requests=120, failures=3, p50=8, p95=20, p99=50),
    ),
    answers=(AnswerWindow(version=7, through=0, rows=500, distance=0.12, odd=0.0, missing=0.0),),
    inputs=InputDrift(
        version=7, batches=9, batch_seconds=86400, newest=NOW, p=0.4, reason="no column moved", per_year=365.25
    ),
    performance=(PERFORMANCE,),
    load=(Load(version=7, cores=0.25, memory_bytes=2_000_000),),
    anomalies=(Anomaly(version=7, measure="availability", value=0.975, low=0.99, by="threshold"),),
)


def samples(found: Findings | None) -> dict[tuple[str, ...], float]:
    text = render(STATUS, found).decode()
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_finding_is_a_gauge_by_model_and_version() -> None:
    read = samples(FOUND)
    v7 = ("model=bikes", "version=v7")

    assert read["trimtab_champion_version", "model=bikes"] == 7
    assert read["trimtab_uploads", "model=bikes", "state=pending"] == 1
    assert read["trimtab_problems", "model=bikes"] == 1
    assert read["trimtab_requests_per_second", *v7] == 2.0
    assert read["trimtab_availability_ratio", *v7] == 0.975
    assert read["trimtab_latency_p99_seconds", *v7] == 0.05
    assert read["trimtab_server_cores", *v7] == 0.25
    assert read["trimtab_server_memory_bytes", *v7] == 2e6
    assert read["trimtab_answer_distance", *v7] == 0.12
    assert read["trimtab_input_drift_alarm", *v7] == 0.0
    assert read["trimtab_labels_missing_ratio", *v7] == 0.1
    assert read["trimtab_performance_proven_worse", *v7] == 1.0
    assert read["trimtab_anomalies", *v7] == 1.0
    for kind, value in {"value": 0.61, "low": 0.59, "bound": 0.64, "naive": 0.5, "limit": 0.65}.items():
        assert read["trimtab_performance", f"kind={kind}", "metric=roc_auc", "model=bikes", "version=v7"] == value


def test_before_the_first_look_only_what_is_known_is_told() -> None:
    names = {key[0] for key in samples(None)}

    assert "trimtab_decisions" in names
    assert not names & {"trimtab_requests_per_second", "trimtab_performance"}


def test_people_read_the_same_in_sentences() -> None:
    lines = told(FOUND)

    assert lines[0] == "v7 at 00:01: 2 requests/s, 97.50% answered, median 8 ms, p99 50 ms"
    assert lines[1] == "v7 uses 0.25 cores and 2 MB"
    assert lines[2].endswith("0.65 is the limit; 10% of its answers have no mature label")
    assert lines[3] == "requests: no column moved"
    assert FOUND.anomalies[0].sentence == "v7: availability is 0.975; allowed: at least 0.99"
