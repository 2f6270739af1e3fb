"""OpenTelemetry: metrics of the worker, and events of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flagstaff import listeners, status
from flagstaff._workers.status import METRICS, StatusMetric

__all__ = ["record_evaluations", "register"]

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


def record_evaluations(logger_provider: LoggerProvider | None = None) -> Callable[[], None]:
    """Emits an event after each evaluation of a flag or a variant, and returns what stops it.

    The event is `feature_flag.evaluation` of OpenTelemetry's semantic conventions, with the key,
    the variant and the reason, in the context of the current span. It names no user. Events go to
    the global logger provider by default. Values have no events, because they may be private.
    """

    def emit(evaluation: listeners.Evaluation) -> None:
        if evaluation.kind != "value":
            _emit(evaluation, logger_provider)

    return listeners.add(emit)


def _emit(evaluation: listeners.Evaluation, logger_provider: LoggerProvider | None) -> None:
    variant, error = evaluation.variant, evaluation.error_code
    attributes: dict[str, Any] = {
        "feature_flag.key": evaluation.key,
        "feature_flag.provider.name": "flagstaff",
        "feature_flag.result.variant": variant,
        # Required only without a variant.
        "feature_flag.result.value": evaluation.value if variant is None else None,
        "feature_flag.result.reason": evaluation.reason.lower(),
        "error.type": error and error.lower(),
    }
    record = LogRecord(
        event_name="feature_flag.evaluation",
        severity_number=SeverityNumber.INFO,
        attributes={name: value for name, value in attributes.items() if value is not None},
    )
    get_logger("flagstaff", logger_provider=logger_provider).emit(record)
