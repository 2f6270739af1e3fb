"""The system check of experiments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError

from flagstaff._text import say
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import require_usable
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.sources import excluded_units
from flagstaff.validators import unit_problem

#: What is used, and a function that raises if it cannot be.
_Use: TypeAlias = tuple[str, Callable[[], object]]


def check_metrics() -> list[CheckMessage]:
    """Reports the metrics and the queries of excluded units that cannot be used. Does not query."""
    names: list[_Use] = [
        (f"the metric {name}", partial(_use_metric, name)) for name in metric_names()
    ]
    units: list[_Use] = [
        (f"the query of excluded units ({unit})", partial(excluded_units, unit))
        for unit in conf.excluded_units
    ]
    problems = (_problem(description, use) for description, use in (*names, *units))
    hint = "see the guide of experiments, or remove the name from the setting"
    return [Error(text, hint=hint, id="flagstaff.E045") for text in problems if text]


def _use_metric(name: str) -> None:
    metric = find_metric(name)
    try:
        require_usable(metric)
    except ConfigurationError as error:
        message = say("the metric {metric} fails: {error}", metric=name, error=error.message)
        raise ConfigurationError(message) from error
    if problem := unit_problem(metric.unit):
        raise ConfigurationError("the metric {metric}: {problem}", metric=name, problem=problem)


def _problem(description: str, use: Callable[[], object]) -> str | None:
    try:
        use()
    except ConfigurationError as error:
        return str(error)
    except DatabaseError:
        # A source that queries itself. It must not keep the first `migrate` from running.
        return None
    except Exception as error:  # noqa: BLE001 (the project's own code)
        return f"{description} fails: {type(error).__name__}: {error}"
    return None
