"""The system checks of experiments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeAlias

from django.core.checks import CheckMessage
from django.db import Error as DatabaseError

from flagstaff._tables.rows import all_rows
from flagstaff._words.text import Text, some
from flagstaff.checks.app_tables import app_messages, unwatched_table
from flagstaff.checks.check import Check, Problem
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import require_usable
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.sources import excluded_units
from flagstaff.validators import unit_problem

#: What is used, and a function that raises if it cannot be.
_Use: TypeAlias = tuple[str, Callable[[], object]]


def _unusable_metrics() -> Iterator[Problem]:
    """Yields the metrics and the queries of excluded units that cannot be used. Does not query."""
    names: list[_Use] = [
        (f"the metric {name}", partial(_use_metric, name)) for name in metric_names()
    ]
    units: list[_Use] = [
        (f"the query of excluded units ({unit})", partial(excluded_units, unit))
        for unit in conf.excluded_units
    ]
    for what, use in (*names, *units):
        if text := _problem(what, use):
            yield Problem(text)


def _doubled_keys() -> Iterator[Problem]:
    """Yields that a flag or a value has the same key as an experiment."""
    keys = list(Experiment.objects.using(conf.database).values_list("key", flat=True))
    for kind, model in (("flag", conf.flag_model), ("value", conf.value_model)):
        rows = all_rows(model).filter(key__in=keys)
        if both := sorted(rows.values_list("key", flat=True)):
            yield Problem(f"a {kind} and an experiment have the same key: {some(both)}")


_METRICS = Check(
    "flagstaff.E045",
    _unusable_metrics,
    "see the guide of experiments, or remove the name from the setting",
)
_CHECKS = (
    Check("flagstaff.W046", partial(unwatched_table, Experiment, "experiments")),
    Check(
        "flagstaff.W047",
        _doubled_keys,
        "delete one of the two, or create it again with another key",
    ),
)


def check_metrics(**kwargs: object) -> list[CheckMessage]:
    """Runs the check of metrics. Makes no query."""
    return [] if conf.problems() else [*_METRICS.messages()]


def check_experiments(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Runs the checks that query the flags' database, if it is selected and can be reached."""
    return app_messages(Experiment, _CHECKS, databases)


def _use_metric(name: str) -> None:
    metric = find_metric(name)
    try:
        require_usable(metric)
    except ConfigurationError as error:
        message = Text("the metric {metric} fails: {error}", metric=name, error=error.message)
        raise ConfigurationError(message) from error
    if problem := unit_problem(metric.unit):
        raise ConfigurationError("the metric {metric}: {problem}", metric=name, problem=problem)


def _problem(what: str, use: Callable[[], object]) -> str | None:
    try:
        use()
    except ConfigurationError as error:
        return str(error)
    except DatabaseError:
        # A source that queries itself. It must not keep the first `migrate` from running.
        return None
    except Exception as error:  # noqa: BLE001 (the project's own code)
        return f"{what} fails: {type(error).__name__}: {error}"
    return None
