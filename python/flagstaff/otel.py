"""OpenTelemetry: metrics of the worker, and events of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, cast

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flagstaff import _core, listeners
from flagstaff._core import Resolution
from flagstaff._engine.metrics import METRICS, StatusMetric
from flagstaff._engine.status import status
from flagstaff.typing import Context, UserLike

__all__ = ["get_variant", "record_evaluations", "register"]

# OpenTelemetry's units. Without a unit, an exporter adds no suffix to the name.
_UNITS = {"seconds": "s", "": ""}

# The experiment whose event `get_variant` emits itself.
_emitted_key: ContextVar[str | None] = ContextVar("emitted_key", default=None)


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

    The events are those of `get_variant`, which emits no second one. They go to the global logger
    provider by default. Values have no events, because they may be private.
    """

    def emit(evaluation: listeners.Evaluation) -> None:
        is_emitted = (evaluation.kind, evaluation.key) == ("variant", _emitted_key.get())
        if evaluation.kind != "value" and not is_emitted:
            _emit(evaluation.key, evaluation, logger_provider)

    return listeners.add(emit)


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
    the variant and the reason, in the context of the current span. It names no user. Does not block
    or query, and does not raise for an unknown key. Raises TypeError for a wrong type.
    """
    token = _emitted_key.set(key)
    try:
        found = _core.resolve_variant(key, user, default=default, context=context)
    finally:
        _emitted_key.reset(token)
    _emit(key, found, logger_provider)
    return cast("str | None", found.value)


def _emit(
    key: str,
    found: Resolution[Any] | listeners.Evaluation,
    logger_provider: LoggerProvider | None,
) -> None:
    attributes: dict[str, Any] = {
        "feature_flag.key": key,
        "feature_flag.provider.name": "flagstaff",
        "feature_flag.result.variant": found.variant,
        # Required only without a variant.
        "feature_flag.result.value": found.value if found.variant is None else None,
        "feature_flag.result.reason": found.reason.lower(),
        "error.type": found.error_code and found.error_code.lower(),
    }
    record = LogRecord(
        event_name="feature_flag.evaluation",
        severity_number=SeverityNumber.INFO,
        attributes={name: value for name, value in attributes.items() if value is not None},
    )
    get_logger("flagstaff", logger_provider=logger_provider).emit(record)
