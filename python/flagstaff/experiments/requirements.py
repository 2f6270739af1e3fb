"""What an experiment must be before it is created or changed, its errors, and its system check."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError

from flagstaff._tables.database import db
from flagstaff._tables.rows import find_row
from flagstaff._text import Sentence, joined, say
from flagstaff.changes.fields import quoted_command
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ConfigurationError,
    ExperimentError,
    InvalidExperimentError,
    UnknownExperimentError,
)
from flagstaff.experiments.measuring import require_unit, require_usable, rows_of_metric
from flagstaff.experiments.metrics import find_metric, metric_names
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.sources import excluded_units
from flagstaff.experiments.variants import variants_of
from flagstaff.validators import MAX_PERCENT, key_problem, rule_problem, unit_problem

_KEY_OF_A_FLAG = say("{key} is the key of a flag; choose another key for the experiment")
_KEY_OF_A_VALUE = say("{key} is the key of a value; choose another key for the experiment")

#: The least and the greatest value.
_WHOLE_NUMBERS = {
    "traffic_percent": (0, MAX_PERCENT),
    "planned_units": (1, 10**12),
    "min_units": (1, 10**9),
    "min_days": (0, 3_650),
}


def unknown(key: str) -> UnknownExperimentError:
    command = quoted_command("experiment", "create", key)
    return UnknownExperimentError(
        "there is no experiment {key}; create it: {command}", key=key, command=command
    )


def require_variant(experiment: Experiment, variant: str) -> None:
    """Raises InvalidExperimentError if the experiment has no such variant."""
    keys = [possible.key for possible in variants_of(experiment.variants)]
    if variant not in keys:
        raise InvalidExperimentError(
            "{key} has no variant {variant}; choose one of {keys}",
            key=experiment.key,
            variant=repr(variant),
            keys=joined(keys),
        )


def require_valid(experiment: Experiment) -> None:
    """Raises InvalidExperimentError unless each setting is possible, and each metric has one role.

    The variants have been checked.
    """
    rules, keys = experiment.rules, [variant.key for variant in variants_of(experiment.variants)]
    problem = (
        key_problem(experiment.key) or rule_problem(rules) or unit_problem(experiment.bucket_by)
    )
    if problem:
        raise InvalidExperimentError(problem)
    for number, rule in enumerate(rules, start=1):
        if rule.get("rollout_percent", MAX_PERCENT) not in {0, MAX_PERCENT}:
            raise InvalidExperimentError(
                "rule {number} has a rollout of {percent} %; a rule of an experiment includes "
                "(100) or excludes (0). Set traffic_percent for a share of all",
                number=number,
                percent=rule["rollout_percent"],
            )
    for unit, variant in experiment.overrides.items():
        if variant not in keys:
            raise InvalidExperimentError(
                "{unit} is forced to {variant}; keep this variant, or remove the override",
                unit=unit,
                variant=variant,
            )
    for field in _WHOLE_NUMBERS:
        require_whole(field, getattr(experiment, field))
    _require_metrics(experiment)
    for name, tolerated in experiment.guardrails.items():
        if not _is_number(tolerated) or tolerated < 0:
            raise InvalidExperimentError(
                "the tolerated harm of {metric} is {value}; write a number of at least 0",
                metric=name,
                value=repr(tolerated),
            )
    effect = experiment.smallest_effect
    if effect is not None and (not _is_number(effect) or effect <= 0):
        raise InvalidExperimentError(
            "the smallest effect is {value}; write a number above 0", value=repr(effect)
        )


def _is_number(value: float) -> bool:
    return type(value) in {int, float} and math.isfinite(value)


def _require_metrics(experiment: Experiment) -> None:
    used = experiment.metrics
    for name in used:
        if used.count(name) > 1:
            raise InvalidExperimentError(
                "the metric {metric} has two roles; give it one", metric=name
            )
        try:
            require_unit(experiment, find_metric(name))
        except ConfigurationError as error:
            message = say("{metric}: {why}", metric=name, why=error.message)
            raise InvalidExperimentError(message) from error


def require_columns_of(metric: str) -> None:
    """Raises InvalidExperimentError if a column of a metric has a wrong type.

    Makes a query for each source. Without its table, only a report says so. Lock nothing before:
    the tables of the project may be locked.
    """
    try:
        with suppress(DatabaseError), db.atomic():
            if db.is_postgresql:
                rows_of_metric(find_metric(metric))
    except ConfigurationError as error:
        message = say("{metric}: {why}", metric=metric, why=error.message)
        raise InvalidExperimentError(message) from error


def require_whole(field: str, value: object) -> None:
    """Raises InvalidExperimentError if a number of the experiment is not possible."""
    low, high = _WHOLE_NUMBERS[field]
    if type(value) is not int or not low <= value <= high:
        raise InvalidExperimentError(
            "{name} is {value}; write a whole number from {low} to {high}",
            name=field,
            value=repr(value),
            low=low,
            high=high,
        )


def require_free(key: str) -> None:
    """A key must not mean a flag or a value in one place and an experiment in another."""
    refusals = {conf.flag_model: _KEY_OF_A_FLAG, conf.value_model: _KEY_OF_A_VALUE}
    for model, refusal in refusals.items():
        if find_row(model, key) is not None:
            raise InvalidExperimentError(refusal, key=key)


#: The states in which an action is possible.
_POSSIBLE = {
    "edit": (State.DRAFT,),
    "start": (State.DRAFT, State.STOPPED),
    "grow": (State.RUNNING, State.STOPPED),
    "add-metric": (State.RUNNING, State.STOPPED),
    "restart": (State.RUNNING, State.STOPPED),
    "force": (State.DRAFT, State.RUNNING, State.STOPPED),
    "ship": (State.RUNNING, State.STOPPED),
    "delete": (State.DRAFT, State.STOPPED, State.SHIPPED),
}
#: What a stored report rules out: it stays, and nothing runs any more. A change would also keep the
#: ship from being undone, which is the way back.
_CHANGES_OF_A_RUN = ("start", "grow", "add-metric", "restart")
# What is possible if the settings cannot be read: what needs none of them.
_READS_NO_SETTINGS = ("stop", "delete")


def refusal(experiment: Experiment, action: str) -> Sentence | None:
    """Returns why an action is not possible now; None if it is."""
    problem = experiment.problem
    if problem and action not in _READS_NO_SETTINGS:
        return say("{key}: {why}", key=experiment.key, why=problem)
    states = _POSSIBLE.get(action, tuple(State))
    if experiment.state not in states:
        return say(
            "{key} is {state}; this action is only for an experiment that is {states}",
            key=experiment.key,
            state=say(experiment.state),
            states=joined((say(state.value) for state in states), " / "),
        )
    if action in _CHANGES_OF_A_RUN and experiment.exposures_deleted_at is not None:
        return lost_exposures(experiment)
    if action in _CHANGES_OF_A_RUN and experiment.frozen_report is not None:
        return say(
            "{key} cannot be changed, because its report is stored; undo what was done last, ship "
            "a variant, or create another one",
            key=experiment.key,
        )
    return None


def require_now(experiment: Experiment, action: str) -> None:
    """Raises ExperimentError if an action is not possible now."""
    if text := refusal(experiment, action):
        raise ExperimentError(text)


def lost_exposures(experiment: Experiment) -> Sentence:
    """Returns why an experiment without its exposures cannot run again."""
    return say(
        "{key} cannot be started, because its exposures were deleted; create another one",
        key=experiment.key,
    )


# The system check.

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
