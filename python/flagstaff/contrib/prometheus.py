"""Metrics of the worker in a registry of `prometheus_client`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flagstaff import status
from flagstaff._workers.status import METRICS, StatusMetric

__all__ = ["StatusCollector", "register"]


class StatusCollector(Collector):
    """Reads `status()` when the registry is collected. Does not start the engine."""

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples, so that `register` does not read the status."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterable[Metric]:
        """The metrics of this process."""
        now = status()
        for metric in METRICS:
            family = _family(metric)
            for labels, value in metric.read(now):
                family.add_metric([str(now.pid), *labels.values()], value)
            yield family


def register(registry: CollectorRegistry | None = None) -> StatusCollector:
    """Registers the metrics, by default in prometheus_client's default registry.

    A forked child reports its own status. Raises ValueError if they are already registered.
    """
    collector = StatusCollector()
    (REGISTRY if registry is None else registry).register(collector)
    return collector


def _family(metric: StatusMetric) -> GaugeMetricFamily | CounterMetricFamily:
    family = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
    return family(metric.prometheus_name, metric.help, labels=("pid", *metric.labels))
