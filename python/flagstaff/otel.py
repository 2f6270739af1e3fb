"""Metrics of the worker as OpenTelemetry instruments, for the exporter of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flagstaff._engine.metrics import METRICS, StatusMetric
from flagstaff._engine.status import status

__all__ = ["register"]

# OpenTelemetry's units. Without a unit, an exporter adds no suffix to the name.
_UNITS = {"seconds": "s", "": ""}


def register(meter_provider: MeterProvider | None = None) -> None:
    """Registers the instruments, by default in the global meter provider.

    They read `status()` when they are collected. They do not start the engine.
    """
    meter = get_meter("flagstaff", meter_provider=meter_provider)
    for metric in METRICS:
        create = (
            meter.create_observable_counter
            if metric.is_counter
            else (meter.create_observable_gauge)
        )
        create(
            f"flagstaff.{metric.name}",
            callbacks=[_observer(metric)],
            unit=_UNITS[metric.unit],
            description=metric.help,
        )


def _observer(metric: StatusMetric) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        now = status()
        for labels, value in metric.read(now):
            yield Observation(value, {"process.pid": now.pid, **labels})

    return observe
