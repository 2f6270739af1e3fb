"""OpenTelemetry: metrics of the worker, and the event of an evaluation with a variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flagstaff import _core
from flagstaff._engine.metrics import METRICS, StatusMetric
from flagstaff._engine.status import status
from flagstaff.typing import Context, UserLike

__all__ = ["get_variant", "register"]

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


def get_variant(
    key: str,
    user: UserLike = None,
    *,
    default: str | None = None,
    context: Context = None,
    logger_provider: LoggerProvider | None = None,
) -> str | None:
    """Returns the variant as `flagstaff.experiments.get_variant`, and emits an event.

    The event is `feature_flag.evaluation` of OpenTelemetry's semantic conventions, with the key,
    the variant and the reason, in the context of the current span. It names no user. Evaluates
    twice; does not block or query. Raises TypeError if an argument has a wrong type.
    """
    found = _core.explain_variant(key, user, context=context)
    variant = _core.get_variant(key, user, default=default, context=context)
    attributes = {
        "feature_flag.key": key,
        "feature_flag.provider.name": "flagstaff",
        "feature_flag.result.variant": found["variant"] or "",
        "feature_flag.result.reason": found["reason"].lower(),
        "error.type": (found["error_code"] or "").lower(),
    }
    record = LogRecord(
        event_name="feature_flag.evaluation",
        severity_number=SeverityNumber.INFO,
        attributes={name: value for name, value in attributes.items() if value},
    )
    get_logger("flagstaff", logger_provider=logger_provider).emit(record)
    return variant
