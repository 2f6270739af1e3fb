"""What a person does with an experiment."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff import acting_as, experiments
from flagstaff.exceptions import (
    ExperimentError,
    InvalidExperimentError,
    UnknownExperimentError,
)
from flagstaff.experiments.models import Experiment, ExperimentEvent, Phase, State
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
GERMANY = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}


@pytest.fixture
def draft() -> Experiment:
    return experiments.create(KEY)


@pytest.fixture
def running(draft: Experiment) -> Experiment:
    return experiments.start(KEY)


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def phases() -> list[tuple[int, dict[str, float], bool]]:
    rows = Phase.objects.order_by("number")
    return [(row.number, row.shares, row.ended_at is not None) for row in rows]


def newest_event() -> ExperimentEvent:
    event = ExperimentEvent.objects.order_by("-id").first()
    assert event
    return event


def test_created_experiment_is_a_draft_of_two_halves(draft: Experiment) -> None:
    found = stored()
    assert (found.state, found.phase, found.shuffle) == (State.DRAFT, 0, 0)
    assert found.allocation == [["control", 5000], ["treatment", 5000]]
    assert (
        newest_event().text == "created with control 1, treatment 1; 100 % of all units take part"
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"variants": ["control"]}, "has 1 variants"),
        ({"variants": ["a", "a"]}, 'two variants have the key "a"'),
        ({"variants": ["a:0", "b:0"]}, "all weights are 0"),
        ({"variants": ["a:x", "b"]}, '"a:x" is no variant'),
        ({"variants": ["a b", "c"]}, "variant 'a b': the key has"),
        ({"variants": ["a:10001", "b"]}, "the weight of a is 10001"),
        ({"traffic_percent": 101}, "the traffic is 101 %"),
        (
            {"variants": ["a:1", "b:999"], "traffic_percent": 1},
            "a would get less than 0.01 % of all units, so nobody",
        ),
        ({"traffic_percent": True}, "the traffic is True %"),
        ({"bucket_by": "is_staff"}, '"is_staff" cannot be the bucketing unit'),
        ({"rules": [{**GERMANY, "rollout_percent": 50}]}, "rule 1 has a rollout of 50 %"),
        ({"rules": [{"op": 1}]}, "rule 1"),
    ],
)
def test_invalid_experiment_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidExperimentError, match=problem.replace("(", r"\(")):
        experiments.create(KEY, **options)
    assert not Experiment.objects.exists()


def test_key_of_a_flag_is_refused() -> None:
    FeatureFlag.objects.create(key=KEY)
    with pytest.raises(InvalidExperimentError, match=f"{KEY} is the key of a flag"):
        experiments.create(KEY)


def test_key_of_another_experiment_is_refused(draft: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match=f"there is an experiment {KEY} already"):
        experiments.create(KEY)


def test_start_begins_the_first_phase(running: Experiment) -> None:
    found = stored()
    assert (found.state, found.phase) == (State.RUNNING, 1)
    assert found.started_at
    assert phases() == [(1, {"control": 0.5, "treatment": 0.5}, False)]


def test_change_of_weights_begins_a_phase_with_the_same_seed(running: Experiment) -> None:
    experiments.set_weights(KEY, {"treatment": 3})
    found = stored()
    assert (found.phase, found.shuffle) == (2, 0)
    assert found.allocation == [["control", 2500], ["treatment", 7500]]
    assert phases() == [
        (1, {"control": 0.5, "treatment": 0.5}, True),
        (2, {"control": 0.25, "treatment": 0.75}, False),
    ]


def test_same_weights_begin_no_phase(running: Experiment) -> None:
    experiments.set_weights(KEY, {"treatment": 1}, traffic_percent=100)
    assert stored().phase == 1


def test_weights_of_a_draft_begin_no_phase(draft: Experiment) -> None:
    experiments.set_weights(KEY, traffic_percent=20)
    assert stored().traffic_percent == 20
    assert phases() == []


def test_weight_of_an_unknown_variant_is_refused(running: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match="there is no variant 'other'"):
        experiments.set_weights(KEY, {"other": 1})


def test_shuffle_begins_a_phase_with_another_seed(running: Experiment) -> None:
    experiments.shuffle(KEY)
    found = stored()
    assert (found.phase, found.shuffle) == (2, 1)


def test_stopped_experiment_can_be_started_again(running: Experiment) -> None:
    experiments.stop(KEY)
    found = stored()
    assert (found.state, bool(found.ended_at)) == (State.STOPPED, True)
    assert phases() == [(1, {"control": 0.5, "treatment": 0.5}, True)]
    experiments.start(KEY)
    assert (stored().state, stored().phase, stored().ended_at) == (State.RUNNING, 2, None)


def test_shipped_experiment_cannot_be_changed(running: Experiment) -> None:
    experiments.ship(KEY, "treatment")
    assert (stored().state, stored().winner) == (State.SHIPPED, "treatment")
    for change in (
        experiments.start,
        experiments.stop,
        experiments.shuffle,
        experiments.set_weights,
        experiments.set_metrics,
    ):
        with pytest.raises(ExperimentError, match="because it is shipped"):
            change(KEY)


def test_unknown_winner_is_refused(running: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match="has no variant 'other'"):
        experiments.ship(KEY, "other")


def test_draft_cannot_be_stopped_or_shipped(draft: Experiment) -> None:
    with pytest.raises(ExperimentError, match=f"{KEY} cannot be stopped, because it is draft"):
        experiments.stop(KEY)
    with pytest.raises(ExperimentError, match="cannot be shipped"):
        experiments.ship(KEY, "control")


def test_forced_unit_is_stored_and_removed(running: Experiment) -> None:
    experiments.force(KEY, "42", "treatment")
    assert stored().overrides == {"42": "treatment"}
    experiments.force(KEY, "42", None)
    assert stored().overrides == {}


@pytest.mark.parametrize("unit", ["", "7\0", "\N{EURO SIGN}" * 86])
def test_text_that_no_unit_has_cannot_be_forced(unit: str, running: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match="is no unit; write 1 to 255 bytes"):
        experiments.force(KEY, unit, "control")


def test_unknown_experiment_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UnknownExperimentError, match="there is no experiment other; create it"):
        experiments.start("other")


def test_event_has_the_actor_and_the_reason(draft: Experiment) -> None:
    with acting_as("ana", reason="launch"):
        experiments.start(KEY)
    event = newest_event()
    assert (event.kind, event.text) == ("started", "started in phase 1")
    assert (event.actor, event.reason) == ("ana", "launch")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"planned_users": 0}, "planned_users is 0; write a whole number from 1"),
        ({"planned_users": True}, "planned_users is True"),
        ({"min_days": -1}, "min_days is -1"),
        ({"min_users": 10**12}, "min_users is 1000000000000"),
        ({"smallest_effect": 0}, "the smallest effect is 0; write a number above 0"),
        ({"smallest_effect": float("nan")}, "the smallest effect is nan"),
        ({"others": [""]}, "has no metric ''"),
        ({"guardrails": {"": 0.1}}, "has no metric ''"),
        ({"method": "bayes"}, "the method is 'bayes'; choose one of sequential, fixed"),
    ],
)
def test_settings_of_the_analysis_are_validated(
    change: dict[str, Any], problem: str, draft: Experiment
) -> None:
    with pytest.raises(InvalidExperimentError, match=problem):
        experiments.set_metrics(KEY, **change)


def test_variant_that_units_have_met_keeps_a_weight(draft: Experiment) -> None:
    experiments.set_weights(KEY, {"treatment": 0})
    experiments.set_weights(KEY, {"treatment": 1})
    experiments.start(KEY)
    with pytest.raises(ExperimentError, match="the weight of treatment cannot become 0: all units"):
        experiments.set_weights(KEY, {"treatment": 0})
    assert stored().phase == 1


def test_analysis_without_a_change_leaves_no_event(draft: Experiment) -> None:
    experiments.set_metrics(KEY)
    assert newest_event().kind == "created"
