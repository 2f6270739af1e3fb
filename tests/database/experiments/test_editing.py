"""Edits of an experiment that has not started, and restarts."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from flagstaff import acting_as, experiments
from flagstaff.exceptions import ExperimentError, InvalidExperimentError
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
    assert found.variants == [{"key": "control", "weight": 1}, {"key": "green", "weight": 3}]
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
        f"{KEY} cannot be edited, because it is running. Its traffic can grow, and metrics can be "
        "added; for other variants, restart it; for anything else, create another experiment"
    )


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
        "restarted: the exposures so far are no longer reported; variants: control 1, treatment 1 "
        "→ control 1, green 3; traffic percent: 100 → 20"
    )
