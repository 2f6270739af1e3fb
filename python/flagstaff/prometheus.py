"""`status()` in a registry of `prometheus_client`, beside what a project measures already."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flagstaff._engine.metrics import MEASURES, Measure
from flagstaff._engine.status import status

__all__ = ["StatusCollector", "register"]


class StatusCollector(Collector):
    """Reads `status()` whenever the registry is collected. Starts nothing, connects nowhere."""

    def describe(self) -> Iterable[Metric]:
        """The measures without a number, so that registering reads nothing."""
        return [_family(measure) for measure in MEASURES]

    def collect(self) -> Iterable[Metric]:
        """The measures of the process that is asked."""
        now = status()
        for measure in MEASURES:
            family = _family(measure)
            for labels, value in measure.read(now):
                family.add_metric([str(now.pid), *labels.values()], value)
            yield family


def register(registry: CollectorRegistry | None = None) -> StatusCollector:
    """Have a registry tell of this process, by default the one of the whole program.

    A forked child answers for itself.

    Raises ValueError where the registry has such a collector already.
    """
    collector = StatusCollector()
    (REGISTRY if registry is None else registry).register(collector)
    return collector


def _family(measure: Measure) -> GaugeMetricFamily | CounterMetricFamily:
    family = CounterMetricFamily if measure.is_counter else GaugeMetricFamily
    return family(measure.prometheus_name, measure.help, labels=("pid", *measure.labels))
