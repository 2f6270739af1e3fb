"""Edits of an experiment that has not started."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flagstaff import acting_as, experiments
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent
from tests.support.experiment_pages import METRICS

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
GERMANY = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}


@pytest.fixture(autouse=True)
def draft(settings: Any) -> Experiment:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}
    return experiments.create(KEY, description="Green?")


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def test_edit_writes_settings_and_buckets_with_an_event_of_old_and_new_values() -> None:
    with acting_as("ana", reason="typo"):
        experiments.edit(
            KEY,
            description="Is green better?",
            owner="web",
            variants=["control", "green:3"],
            traffic_percent=40,
            rules=[GERMANY],
            primary="orders",
            guardrails={"complaints": 0.01},
        )
    found = stored()
    assert (found.description, found.owner, found.rules) == ("Is green better?", "web", [GERMANY])
    assert found.allocation == [[None, 6000], ["control", 1000], ["green", 3000]]
    assert (found.primary_metric, found.guardrails) == ("orders", {"complaints": 0.01})
    event = ExperimentEvent.objects.latest("id")
    assert (event.kind, event.actor, event.reason) == ("edited", "ana", "typo")
    assert str(event.message).partition("; rules")[0] == (
        "edited: description: Green? → Is green better?; owner: none → web; "
        "variants: control 1, treatment 1 → control 1, green 3; traffic percent: 100 → 40"
    )
    assert 'rules: none → [{"conditions": [{"attribute": "country"' in event.message
    assert "guardrails: none → complaints (0.01)" in event.message


def test_edit_without_a_change_leaves_no_event() -> None:
    experiments.edit(KEY, description="Green?", variants=["control", "treatment"])
    assert ExperimentEvent.objects.count() == 1


def test_edit_of_a_started_experiment_is_refused_with_what_is_possible() -> None:
    experiments.start(KEY)
    with pytest.raises(ExperimentError) as refused:
        experiments.edit(KEY, owner="web")
    assert str(refused.value) == (
        f"{KEY} cannot be edited, because it is running. Its weights and traffic can be changed, "
        "and metrics added; for anything else, create another experiment"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"variants": ["control"]}, "has 1 variants"),
        ({"traffic_percent": 101}, "the traffic is 101 %"),
        ({"bucket_by": "is_staff"}, '"is_staff" cannot be the bucketing unit'),
        ({"rules": [{"conditions": [{"segment": "big"}]}]}, "'big'"),
        ({"primary": "other"}, "has no metric 'other'"),
        ({"bucket_by": "company", "primary": "orders"}, 'unit="company"'),
        ({"variants": ["control", "green"]}, "42 is forced to treatment; keep this variant"),
    ],
)
def test_invalid_edit_is_refused_and_changes_nothing(change: Any, problem: str) -> None:
    experiments.force(KEY, "42", "treatment")
    before = Experiment.objects.values().get()
    with pytest.raises(InvalidExperimentError, match=re.escape(problem)):
        experiments.edit(KEY, description="new", **change)
    assert Experiment.objects.values().get() == before
