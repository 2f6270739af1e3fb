"""Edits of an experiment that has not started, and restarts."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest
from django.utils.translation import override

from flagstaff import acting_as, experiments
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from tests.support.experiment_pages import METRICS

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
LONG_AGO = datetime(2026, 1, 5, tzinfo=timezone.utc)
GERMANY = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}


@pytest.fixture(autouse=True)
def draft(settings: Any) -> Experiment:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}
    return experiments.create(KEY, description="Green?")


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def test_edit_writes_settings_with_an_event_of_old_and_new_values() -> None:
    # The event is in English in every language.
    with override("de"), acting_as("ana", reason="typo"):
        experiments.edit(
            KEY,
            description="Is green better?",
            variants=["control", "green:3"],
            traffic_percent=40,
            rules=[GERMANY],
            primary="orders",
            guardrails={"complaints": 0.01},
        )
    found = stored()
    assert (found.description, found.rules) == ("Is green better?", [GERMANY])
    assert found.variants == [{"key": "control", "weight": 1}, {"key": "green", "weight": 3}]
    assert (found.primary_metric, found.guardrails) == ("orders", {"complaints": 0.01})
    event = ExperimentEvent.objects.latest("id")
    assert (event.kind, event.actor, event.reason) == ("edited", "ana", "typo")
    assert event.message == (
        "edited: Description: Green? → Is green better?; "
        "Variants: control 50.0 %, treatment 50.0 % → control 10.0 %, green 30.0 %; "
        'Traffic in percent: 100 → 40; Rules: none → rule 1: 100 % if country is "DE"; '
        "Primary metric: none → orders; Guardrails: none → complaints (0.01)"
    )


def test_edit_without_a_change_leaves_no_event() -> None:
    experiments.edit(KEY, description="Green?", variants=["control", "treatment"])
    assert ExperimentEvent.objects.count() == 1


def test_weights_with_the_same_shares_are_stored() -> None:
    experiments.edit(KEY, variants=["control:2", "treatment:2"])
    assert stored().variants[0]["weight"] == 2
    assert ExperimentEvent.objects.latest("id").message == "edited: no share changes"


def test_unknown_setting_is_an_error() -> None:
    with pytest.raises(TypeError, match="has no settings state"):
        experiments.edit(KEY, state="running")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rules": [{"conditions": [{"segment": "big"}]}]}, "'big'"),
        ({"primary": "other"}, "has no metric 'other'"),
        ({"guardrails": {"": 0.1}}, "has no metric ''"),
        ({"others": ["orders"], "primary": "orders"}, "the metric orders has two roles"),
        ({"bucket_by": "company", "primary": "orders"}, 'unit="company"'),
        ({"variants": ["control", "green"]}, "42 is forced to treatment; keep this variant"),
        ({"planned_units": 0}, "planned_units is 0; write a whole number from 1"),
        ({"planned_units": True}, "planned_units is True"),
        ({"min_days": -1}, "min_days is -1"),
        ({"min_units": 10**12}, "min_units is 1000000000000"),
        ({"smallest_effect": 0}, "the smallest effect is 0; write a number above 0"),
        ({"smallest_effect": float("nan")}, "the smallest effect is nan"),
    ],
)
def test_invalid_edit_is_refused_and_changes_nothing(change: Any, problem: str) -> None:
    experiments.force(KEY, "42", "treatment")
    before = Experiment.objects.values().get()
    with pytest.raises(InvalidExperimentError, match=re.escape(problem)):
        experiments.edit(KEY, description="new", **change)
    assert Experiment.objects.values().get() == before


def test_restart_begins_a_run_with_other_variants_and_all_metrics() -> None:
    experiments.start(KEY)
    experiments.add_metric(KEY, "orders")
    Experiment.objects.update(started_at=LONG_AGO, runs_since=LONG_AGO)
    experiments.restart(KEY, variants=["control", "green:3"], traffic_percent=20)
    found = stored()
    assert (found.state, found.run, found.traffic_percent) == (State.RUNNING, 1, 20)
    assert (found.other_metrics, found.added_metrics) == (["orders"], {})
    assert found.started_at == found.runs_since
    assert found.started_at is not None
    assert found.started_at > LONG_AGO
    event = ExperimentEvent.objects.latest("id")
    assert event.kind == "restarted"
    assert event.message == (
        "restarted: the exposures so far are no longer reported; Variants: control 50.0 %, "
        "treatment 50.0 % → control 5.00 %, green 15.0 %; Traffic in percent: 100 → 20"
    )
