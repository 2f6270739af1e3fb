"""What an experiment must be before it is created or changed, and the errors of what it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError

from flagstaff._tables.rows import find_row
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ConfigurationError,
    ExperimentError,
    InvalidExperimentError,
    UnknownExperimentError,
)
from flagstaff.experiments.metrics import find_metric
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.variants import Variant, variants_of
from flagstaff.validators import MAX_PERCENT, unit_problem, validate_flag_key, validate_rules

__all__ = [
    "require_free",
    "require_metrics",
    "require_percent",
    "require_state",
    "require_valid",
    "unknown",
    "unknown_variant",
    "with_weights",
]


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
    """Raises InvalidExperimentError unless each metric exists, and has one role."""
    names = [experiment.primary_metric, *experiment.other_metrics, *experiment.guardrails]
    used = [name for name in names if name]
    for name in used:
        if used.count(name) > 1:
            raise InvalidExperimentError(f"the metric {name} has two roles; give it one")
        try:
            find_metric(name)
        except ConfigurationError as error:
            raise InvalidExperimentError(str(error)) from error
    if min(experiment.planned_users, experiment.min_users) < 1 or experiment.min_days < 0:
        raise InvalidExperimentError("numbers of users must be at least 1, days at least 0")


def require_percent(traffic_percent: int) -> None:
    if type(traffic_percent) is not int or not 0 <= traffic_percent <= MAX_PERCENT:
        raise InvalidExperimentError(
            f"the traffic is {traffic_percent!r} %; write a whole number from 0 to 100"
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
