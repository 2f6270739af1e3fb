"""`status()` as instruments of OpenTelemetry, which a project's own exporter sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flagstaff._engine.metrics import MEASURES, Measure
from flagstaff._engine.status import status

__all__ = ["register"]

# As OpenTelemetry writes units. Without one, an exporter puts no word of its own behind the name.
_UNITS = {"seconds": "s", "": ""}


def register(meter_provider: MeterProvider | None = None) -> None:
    """Have a meter provider observe this process, by default the one of the whole program.

    The instruments read `status()` when they are collected. They start nothing, connect nowhere.
    """
    meter = get_meter("flagstaff", meter_provider=meter_provider)
    for measure in MEASURES:
        make = (
            meter.create_observable_counter
            if measure.is_counter
            else (meter.create_observable_gauge)
        )
        make(
            f"flagstaff.{measure.name}",
            callbacks=[_observer(measure)],
            unit=_UNITS[measure.unit],
            description=measure.help,
        )


def _observer(measure: Measure) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        now = status()
        for labels, value in measure.read(now):
            yield Observation(value, {"process.pid": now.pid, **labels})

    return observe
