"""`/metrics` of listener and monitor: what they know of all models, by namespace; the store is not asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trimtab.app.cluster.resources import Key
from trimtab.app.exposition import of_findings
from trimtab.core.monitor.findings import Findings

if TYPE_CHECKING:
    from trimtab.app.cluster.desks import ClusterDesk


def intake_metrics(acts: bool, desks: Mapping[Key, ClusterDesk], problems: Mapping[Key, str]) -> bytes:
    """Uploads by what became of them, as this replica knows."""

    def families() -> Iterator[Any]:
        yield _gauge("intake_acts", "1 while this replica is the one that takes in.", [], [((), float(acts))])
        rows = [
            ((*key, state), float(number)) for key, desk in desks.items() for state, number in desk.counts().items()
        ]
        yield _gauge("uploads", "Uploads by what became of them.", ["namespace", "model", "state"], rows)
        yield _problems("intake_problems", "1 while taking in does not work.", desks, problems)

    return _text(families())


def monitor_metrics(acts: bool, found: Mapping[Key, Findings | None], problems: Mapping[Key, str]) -> bytes:
    """What was measured of every model that serves."""

    def families() -> Iterator[Any]:
        yield _gauge("monitor_acts", "1 while this replica is the one that measures.", [], [((), float(acts))])
        yield from _merged({key: of_findings(key[1], findings) for key, findings in found.items() if findings})
        yield _problems("monitor_problems", "1 while measuring does not work.", found, problems)

    return _text(families())


def _merged(by_model: Mapping[Key, Iterable[Any]]) -> Iterator[Any]:
    """Each family once, its samples with their model's namespace."""
    families: dict[str, Any] = {}
    for key, found in by_model.items():
        for family in found:
            family.samples = [each._replace(labels={"namespace": key[0], **each.labels}) for each in family.samples]
            known = families.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
    yield from families.values()


def _problems(name: str, text: str, keys: Iterable[Key], problems: Mapping[Key, str]) -> Any:
    return _gauge(name, text, ["namespace", "model"], [(key, float(bool(problems.get(key)))) for key in keys])


def _gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[Iterable[str], float]]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"trimtab_{name}", text, labels=labels)
    for values, value in rows:
        family.add_metric(list(values), value)
    return family


def _text(families: Iterable[Any]) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest

    class Now:
        def collect(self) -> Iterator[Any]:
            yield from families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Now())
    return generate_latest(registry)
