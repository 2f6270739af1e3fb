"""Columns of an experiment that SQL has written are checked before they are used."""

from typing import Any

import pytest

from flagstaff.experiments.models import Experiment

VARIANTS = [{"key": "control", "weight": 1}, {"key": "treatment", "weight": 1}]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"variants": 5}, "the column variants has JSON of another type"),
        ({"variants": [5]}, "the column variants has JSON of another type"),
        ({"variants": [{"key": "a"}]}, "the column variants has JSON of another type"),
        ({"variants": [{"key": "a", "weight": 1}]}, "the experiment has 1 variants"),
        ({"other_metrics": [5]}, "the column other_metrics has JSON of another type"),
        ({"guardrails": 5}, "the column guardrails has JSON of another type"),
        ({"overrides": 5}, "the column overrides has JSON of another type"),
        ({"added_metrics": {"orders": 5}}, "the column added_metrics has JSON of another type"),
    ],
    ids=str,
)
def test_column_that_cannot_be_read_is_named(broken: dict[str, Any], why: str) -> None:
    experiment = Experiment(**{"key": "button", "variants": VARIANTS, **broken})
    assert str(experiment.problem).startswith(f"the experiment cannot be read: {why}")


def test_experiment_that_can_be_read_has_no_problem() -> None:
    assert Experiment(key="button", variants=VARIANTS).problem is None
