"""
What a model server counts, for Prometheus: in memory that its worker processes share.

Each worker adds to a place of its own and any of them shows the sum, so that an answer is the same whichever worker
gives it, and nothing counted is lost when a worker is replaced.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

CODES = (200, 400, 404, 405, 408, 413, 415, 500, 503)
OTHER = "other"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds
COUNTERS = {
    "rows": "Rows predicted.",
    "unknown_columns": "Columns of requests that the schema does not know, left out.",
    "model_failures": "Requests on which the model raised.",
    "shadow_requests": "Of the requests, copies whose answers nobody sees.",
    "labels": "Labels that came as feedback.",
    "log_lost_lines": "Lines that the prediction log could not write to its disk.",
    "log_sent_segments": "Segments of the prediction log that the store has.",
}
GAUGES = {"log_waiting_segments": "Finished segments of the prediction log that the store has not."}
PLACES = ("pid", *CODES, OTHER, *BUCKETS, "beyond", "seconds", *COUNTERS, *GAUGES)
INDEX: dict[Any, int] = {place: number for number, place in enumerate(PLACES)}


class Meters:
    """
    Shared counts of `workers` processes; made before they are forked.

    Args:
        labels: What every series carries, such as model and version.
    """

    def __init__(self, workers: int, labels: dict[str, str]) -> None:
        self.labels = labels
        self.workers = workers
        self._memory = mmap.mmap(-1, 8 * len(PLACES) * workers)
        self._values = memoryview(self._memory).cast("d")
        self._base = 0
        self._lock = threading.Lock()

    def take_place(self, number: int) -> None:
        """In a worker, after it was forked: count in place `number` from now on."""
        self._base = number * len(PLACES)
        self._lock = threading.Lock()
        self._values[self._base] = os.getpid()
        self.set("log_waiting_segments", 0)

    def answered(self, code: int, seconds: float, rows: int = 0, unknown: int = 0) -> None:
        """One request with its answer."""
        place = INDEX.get(code)
        bucket = INDEX[BUCKETS[0]] + bisect_left(BUCKETS, seconds)
        values, base = self._values, self._base
        with self._lock:
            values[base + (INDEX[OTHER] if place is None else place)] += 1
            values[base + bucket] += 1
            values[base + INDEX["seconds"]] += seconds
            values[base + INDEX["rows"]] += rows
            values[base + INDEX["unknown_columns"]] += unknown

    def add(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._values[self._base + INDEX[name]] += number

    def set(self, name: str, number: float) -> None:
        with self._lock:
            self._values[self._base + INDEX[name]] = number

    def total(self, place: Any) -> float:
        """Of all workers, those that ended included."""
        return sum(self._values[worker * len(PLACES) + INDEX[place]] for worker in range(self.workers))

    def collect(self) -> Iterator[Any]:
        """The series, as prometheus_client's registry asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        names, values = list(self.labels), list(self.labels.values())
        requests = CounterMetricFamily("trimtab_requests", "Predictions asked for, by code.", labels=[*names, "code"])
        for code in (*CODES, OTHER):
            requests.add_metric([*values, str(code)], self.total(code))
        yield requests
        seconds = HistogramMetricFamily("trimtab_request_seconds", "From a request to its answer.", labels=names)
        so_far, buckets = 0.0, []
        for bound in (*BUCKETS, "beyond"):
            so_far += self.total(bound)
            buckets.append(("+Inf" if bound == "beyond" else str(bound), so_far))
        seconds.add_metric(values, buckets, self.total("seconds"))
        yield seconds
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"trimtab_{name}", text, labels=names)
            counter.add_metric(values, self.total(name))
            yield counter
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"trimtab_{name}", text, labels=names)
            gauge.add_metric(values, self.total(name))
            yield gauge
        yield from self._processes(names, values)

    def _processes(self, names: list[str], values: list[str]) -> Iterator[Any]:
        """CPU and memory of the living workers and of the process that watches them."""
        import psutil
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        cpu = CounterMetricFamily("trimtab_process_cpu_seconds", "CPU time of the server.", labels=[*names, "pid"])
        memory = GaugeMetricFamily(
            "trimtab_process_resident_memory_bytes", "Memory of the server.", labels=[*names, "pid"]
        )
        pids = {int(self._values[worker * len(PLACES)]) for worker in range(self.workers)} | {os.getppid()}
        for pid in sorted(pids - {0, 1}):
            try:
                process = psutil.Process(pid)
                times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue
            cpu.add_metric([*values, str(pid)], times.user + times.system)
            memory.add_metric([*values, str(pid)], resident)
        yield cpu
        yield memory
