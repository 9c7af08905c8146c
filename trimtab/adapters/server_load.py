"""What model servers use of the machine, from their own metrics: CPU and memory by version."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

from trimtab.core.monitor.findings import Load

TIMEOUT_SECONDS = 2.0
CPU, MEMORY = "trimtab_process_cpu_seconds", "trimtab_process_resident_memory_bytes"


class ServerLoad:
    """Asks model servers; CPU is what they used since they were asked before. Belongs to one thread."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[float, dict[str, float]]] = {}

    def look(self, addresses: Mapping[int, str]) -> tuple[Load, ...]:
        """
        The load of each server that answers; one that was never asked before says nothing yet.

        Args:
            addresses: Of the servers' metrics, by version.
        """
        found = []
        self._before = {version: before for version, before in self._before.items() if version in addresses}
        for version, address in sorted(addresses.items()):
            try:
                answer = httpx.get(address, timeout=TIMEOUT_SECONDS, trust_env=False).raise_for_status()
            except httpx.HTTPError:
                continue  # it is being started or ended
            now, (cpu, memory) = time.monotonic(), _read(answer.text)
            then, used = self._before.get(version, (now, cpu))
            self._before[version] = (now, cpu)
            if now > then:
                # A process that has just begun has used all of it since.
                spent = sum(seconds - used.get(pid, 0.0) for pid, seconds in cpu.items())
                found.append(Load(version=version, cores=round(max(spent, 0.0) / (now - then), 3), memory_bytes=memory))
        return tuple(found)


def _read(text: str) -> tuple[dict[str, float], int]:
    """CPU seconds by process, and bytes of all of them."""
    from prometheus_client.parser import text_string_to_metric_families

    cpu: dict[str, float] = {}
    memory = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name == CPU and sample.name == f"{CPU}_total":
                cpu[sample.labels.get("pid", "")] = sample.value
            elif family.name == MEMORY:
                memory += sample.value
    return cpu, int(memory)
