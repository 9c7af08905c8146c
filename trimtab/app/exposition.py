"""`/metrics`: how a model stands, as Prometheus reads it, from what is known already; the store is not asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trimtab.app.status import Status
from trimtab.core.monitor.findings import Findings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# name, what it says; each of a version
BY_MINUTE = {
    "requests_per_second": "Requests that the version answered, in its newest whole minute.",
    "availability_ratio": "Share of them that it did not fail, 0 to 1.",
    "latency_p50_seconds": "Median time to answer them.",
    "latency_p95_seconds": "Time within which 95 % were answered.",
    "latency_p99_seconds": "Time within which 99 % were answered.",
}


def render(status: Status, found: Findings | None) -> bytes:
    """Status and findings in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Now:
        def collect(self) -> Iterator[Any]:
            yield from _of_status(status)
            if found is not None:
                yield from of_findings(status.model, found)

    registry = CollectorRegistry()
    registry.register(Now())
    return generate_latest(registry)


def _of_status(status: Status) -> Iterator[Any]:
    model = (status.model,)
    yield _gauge("champion_version", "The version that serves; 0: none.", (model, _number(status)))
    counts = [((status.model, state), float(count)) for state, count in status.uploads.items() if state != "seen"]
    yield _gauge("uploads", "Uploads by what became of them.", *counts, more=("state",))
    yield _gauge("decisions", "Training runs that were decided on.", (model, float(status.decisions)))
    yield _gauge("run_goes_on", "1 while a training run goes on.", (model, float(status.running is not None)))
    yield _gauge("problems", "Things that do not work just now.", (model, float(len(status.problems))))
    if status.rollout is not None:
        rollout = status.rollout
        labels = (status.model, f"v{rollout.version}", str(rollout.phase))
        yield _gauge(
            "rollout_weight_percent",
            "Share of the traffic that the challenger answers.",
            (labels, float(rollout.weight_percent)),
            more=("version", "phase"),
        )


def of_findings(model: str, found: Findings) -> Iterator[Any]:
    """The families of what was measured of one model."""
    newest = found.newest_minutes()
    values: dict[str, dict[int, float]] = {name: {} for name in BY_MINUTE}
    for version, minute in newest.items():
        figures = (minute.per_second, minute.availability, minute.p50 / 1e3, minute.p95 / 1e3, minute.p99 / 1e3)
        for name, value in zip(BY_MINUTE, figures, strict=True):
            values[name][version] = value
    for name, text in BY_MINUTE.items():
        yield _by_version(name, text, model, values[name])
    cores, memory = (
        {each.version: each.cores for each in found.load},
        {each.version: float(each.memory_bytes) for each in found.load},
    )
    yield _by_version("server_cores", "Cores that its model servers keep busy.", model, cores)
    yield _by_version("server_memory_bytes", "Resident memory of its model servers.", model, memory)
    distance = {each.version: each.distance for each in found.answers if each.distance is not None}
    text = "Jensen-Shannon distance of its newest answers to those of its reference, 0 to 1."
    yield _by_version("answer_distance", text, model, distance)
    yield from _of_performance(model, found)
    if found.inputs is not None:
        inputs = {found.inputs.version: found.inputs.p}
        yield _by_version("input_drift_p", "Adjusted p of the newest batch of requests.", model, inputs)
        alarm = {found.inputs.version: float(bool(found.inputs.alarm))}
        yield _by_version("input_drift_alarm", "1 while drift of the requests stands as an alarm.", model, alarm)
    counts: dict[int, float] = dict.fromkeys(newest, 0.0)
    for anomaly in found.anomalies:
        counts[anomaly.version] = counts.get(anomaly.version, 0.0) + 1
    yield _by_version("anomalies", "Measures beyond what is allowed or usual.", model, counts)


def _of_performance(model: str, found: Findings) -> Iterator[Any]:
    rows = [
        ((model, f"v{each.version}", each.metric, kind), value)
        for each in found.performance
        for kind, value in {
            "value": each.value.point,
            "low": each.value.low,
            "high": each.value.high,
            "bound": each.bound,
            "naive": each.naive,
            "limit": each.limit,
        }.items()
        if value is not None
    ]
    text = "The metric on mature labels: its value and interval, the proven bound, a naive baseline, the limit."
    yield _gauge("performance", text, *rows, more=("version", "metric", "kind"))
    missing = {each.version: each.missing_share for each in found.performance}
    yield _by_version("labels_missing_ratio", "Share of its answers without a mature label.", model, missing)
    proven = {each.version: float(each.proven) for each in found.performance}
    yield _by_version("performance_proven_worse", "1 where the version is proven beyond the limit.", model, proven)


def _by_version(name: str, text: str, model: str, values: Mapping[int, float]) -> Any:
    rows = [((model, f"v{version}"), value) for version, value in sorted(values.items())]
    return _gauge(name, text, *rows, more=("version",))


def _gauge(name: str, text: str, *rows: tuple[Iterable[str], float], more: tuple[str, ...] = ()) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"trimtab_{name}", text, labels=["model", *more])
    for labels, value in rows:
        family.add_metric(list(labels), value)
    return family


def _number(status: Status) -> float:
    return float(status.serving.version) if status.serving else 0.0
