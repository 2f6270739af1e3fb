"""What an experiment must be before it is created or changed, and the errors of what it is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from django.core.exceptions import ValidationError

from flagstaff._tables.rows import find_row
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ConfigurationError,
    ExperimentError,
    InvalidExperimentError,
    UnknownExperimentError,
)
from flagstaff.experiments.allocation import targets
from flagstaff.experiments.measuring import require_unit
from flagstaff.experiments.metrics import find_metric
from flagstaff.experiments.models import Experiment, Method, State
from flagstaff.experiments.variants import Variant, variants_of
from flagstaff.validators import MAX_PERCENT, unit_problem, validate_flag_key, validate_rules

#: The least and the greatest value.
_WHOLE_NUMBERS = {
    "planned_users": (1, 10**12),
    "min_users": (1, 10**9),
    "min_days": (0, 3_650),
}


def unknown(key: str) -> UnknownExperimentError:
    return UnknownExperimentError(
        f'there is no experiment {key}; create it: manage.py flags experiment "{key}" create'
    )


def unknown_variant(experiment: Experiment, variant: str) -> InvalidExperimentError:
    keys = ", ".join(one.key for one in variants_of(experiment.variants))
    return InvalidExperimentError(
        f"{experiment.key} has no variant {variant!r}; choose one of {keys}"
    )


def require_valid(
    key: str, traffic_percent: int, bucket_by: str, rules: Sequence[Mapping[str, Any]]
) -> None:
    try:
        validate_flag_key(key)
        validate_rules(list(rules))
    except ValidationError as error:
        raise InvalidExperimentError("; ".join(error.messages)) from error
    require_percent(traffic_percent)
    if problem := unit_problem(bucket_by):
        raise InvalidExperimentError(problem)
    for number, rule in enumerate(rules, start=1):
        if rule.get("rollout_percent", MAX_PERCENT) not in {0, MAX_PERCENT}:
            raise InvalidExperimentError(
                f"rule {number} has a rollout of {rule['rollout_percent']} %; a rule of an "
                "experiment includes (100) or excludes (0). Set traffic_percent for a share of all"
            )


def require_metrics(experiment: Experiment) -> None:
    """Raises InvalidExperimentError unless each metric exists with one role, and numbers fit."""
    primary = [experiment.primary_metric] if experiment.primary_metric else []
    used = [*primary, *experiment.other_metrics, *experiment.guardrails]
    for name in used:
        if used.count(name) > 1:
            raise InvalidExperimentError(f"the metric {name} has two roles; give it one")
        try:
            require_unit(experiment, find_metric(name))
        except ConfigurationError as error:
            raise InvalidExperimentError(f"{name}: {error}") from error
    for name, tolerated in experiment.guardrails.items():
        _require_number(f"the tolerated harm of {name}", tolerated, may_be_zero=True)
    if experiment.smallest_effect is not None:
        _require_number("the smallest effect", experiment.smallest_effect, may_be_zero=False)
    if experiment.method not in Method.values:
        raise InvalidExperimentError(
            f"the method is {experiment.method!r}; choose one of {', '.join(Method.values)}"
        )
    for field, (low, high) in _WHOLE_NUMBERS.items():
        _require_whole(field, getattr(experiment, field), low, high)


def _require_number(what: str, value: object, *, may_be_zero: bool) -> None:
    is_number = type(value) in {int, float} and math.isfinite(cast("float", value))
    if not is_number or cast("float", value) < 0 or (value == 0 and not may_be_zero):
        bound = "of at least 0" if may_be_zero else "above 0"
        raise InvalidExperimentError(f"{what} is {value!r}; write a number {bound}")


def _require_whole(field: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidExperimentError(
            f"{field} is {value!r}; write a whole number from {low} to {high:,}"
        )


def require_percent(traffic_percent: int) -> None:
    if type(traffic_percent) is not int or not 0 <= traffic_percent <= MAX_PERCENT:
        raise InvalidExperimentError(
            f"the traffic is {traffic_percent!r} %; write a whole number from 0 to 100"
        )


def require_no_variant_ends(
    experiment: Experiment, before: Iterable[Variant], after: Iterable[Variant]
) -> None:
    """Raises ExperimentError if a variant that units have met would have none any more.

    They would all be left out of the report, and no later change would bring them back.
    """
    weights = {variant.key: variant.weight for variant in after}
    ended = [one.key for one in before if one.weight and not weights[one.key]]
    if experiment.phase and ended:
        raise ExperimentError(
            f"{experiment.key} has started, so the weight of {ended[0]} cannot become 0: all units "
            "that met it would be left out of the report. Stop the experiment, or ship a variant"
        )


def require_buckets(variants: Iterable[Variant], traffic_percent: int) -> None:
    """Raises InvalidExperimentError for a weight that is too small for a bucket."""
    weights = {variant.key: variant.weight for variant in variants}
    buckets = targets(weights, traffic_percent)
    empty = [key for key, weight in weights.items() if weight and not buckets[key]]
    if traffic_percent and empty:
        raise InvalidExperimentError(
            f"{empty[0]} would get less than 0.01 % of all units, so nobody; raise its weight or "
            "the traffic"
        )


def require_free(key: str) -> None:
    """A key must not mean a flag in one place and an experiment in another."""
    if find_row(conf.flag_model, key) is not None:
        raise InvalidExperimentError(
            f"{key} is the key of a flag; choose another key for the experiment"
        )


def require_state(experiment: Experiment, what: str, *states: State) -> None:
    if experiment.state not in states:
        label = State(experiment.state).label
        raise ExperimentError(f"{experiment.key} cannot be {what}, because it is {label}")


def with_weights(variants: Iterable[Variant], weights: Mapping[str, int]) -> list[Variant]:
    found = {variant.key: variant.weight for variant in variants}
    if unknown := [key for key in weights if key not in found]:
        raise InvalidExperimentError(
            f"there is no variant {unknown[0]!r}; choose one of {', '.join(found)}"
        )
    return [Variant(key, weights.get(key, weight)) for key, weight in found.items()]
