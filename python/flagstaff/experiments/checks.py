"""The system checks of experiments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeAlias

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import Error as DatabaseError

from flagstaff._tables.rows import all_rows
from flagstaff._text.lists import join_some
from flagstaff.checks.app_tables import AppTable
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import require_usable
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.sources import excluded_units
from flagstaff.validators import unit_problem

__all__ = ["check_experiments", "check_metrics"]

#: flagstaff.W046: the trigger of the experiments is missing or disabled.
_TABLE = AppTable(
    Experiment, "experiments", "flagstaff_experiments 0001_initial", id="flagstaff.W046"
)
#: What is used, and a function that raises if it cannot be.
_Use: TypeAlias = tuple[str, Callable[[], object]]


def check_metrics(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E045: a metric, or a query of excluded units, cannot be used. Makes no query."""
    if conf.problems():
        return []
    names: list[_Use] = [
        (f"the metric {name}", partial(_use_metric, name)) for name in metric_names()
    ]
    units: list[_Use] = [
        (f"the query of excluded units ({unit})", partial(excluded_units, unit))
        for unit in conf.excluded_units
    ]
    problems = (_problem(what, use) for what, use in (*names, *units))
    return [
        Error(
            problem,
            hint="see the guide of experiments, or remove the name from the setting",
            id="flagstaff.E045",
        )
        for problem in problems
        if problem
    ]


def _use_metric(name: str) -> None:
    metric = find_metric(name)
    try:
        require_usable(metric)
    except ConfigurationError as error:
        raise ConfigurationError(f"the metric {name} fails: {error}") from error
    if problem := unit_problem(metric.unit):
        raise ConfigurationError(f"the metric {name}: {problem}")


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


def check_experiments(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Runs the checks that query the flags' database, if it is selected and can be reached."""
    return _TABLE.check(databases, _doubled_keys)


def _doubled_keys() -> Iterator[CheckMessage]:
    """flagstaff.W047: a flag and an experiment have the same key."""
    keys = Experiment.objects.using(conf.database).values_list("key", flat=True)
    both = sorted(
        all_rows(conf.flag_model).filter(key__in=list(keys)).values_list("key", flat=True)
    )
    if both:
        yield Warning(
            f"a flag and an experiment have the same key: {join_some(both)}",
            hint="delete one of the two, or create it again with another key",
            id="flagstaff.W047",
        )
