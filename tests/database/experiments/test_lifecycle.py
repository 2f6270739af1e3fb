"""What a person does with experiments: create, edit, start, stop, ship, and the way back."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db.models import JSONField, Value
from django.utils.translation import override

from flagstaff import acting_as, changes, experiments
from flagstaff._tables.rows import all_rows
from flagstaff.exceptions import ExperimentError, InvalidExperimentError, UnknownExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
from flagstaff.experiments.variants import shares_of
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.concurrency import run_during
from tests.support.experiments import KEY, newest_event, stored
from tests.support.fixtures import COMMITTED
from tests.support.segment_rules import rules
from tests.support.shop import GERMANY

LONG_AGO = datetime(2026, 1, 5, tzinfo=timezone.utc)


def test_created_experiment_is_a_draft_of_two_halves(draft: Experiment) -> None:
    experiment = stored()
    assert (experiment.state, experiment.run, experiment.started_at) == (State.DRAFT, 0, None)
    assert shares_of(experiment.variants) == {"control": 0.5, "treatment": 0.5}
    text = "created with control 1, treatment 1; 100 % of all units take part"
    assert (newest_event().kind, newest_event().message) == ("created", text)


#: What neither a new experiment nor an edited one may have.
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"variants": ["control"]}, "has 1 variants"),
    ({"variants": ["a", "a"]}, 'two variants have the key "a"'),
    ({"variants": ["a:0", "b:0"]}, "all weights are 0"),
    ({"variants": ["a:x", "b"]}, '"a:x" is no variant'),
    ({"variants": ["a b", "c"]}, "variant 'a b': the key has"),
    ({"variants": ["a:10001", "b"]}, "the weight of a is 10001"),
    ({"variants": ["a:1", "b:9999", "c:9999"]}, "a would get less than 0.01 % of the units; raise"),
    ({"traffic_percent": 101}, "traffic_percent is 101"),
    ({"traffic_percent": True}, "traffic_percent is True"),
    ({"bucket_by": "is_staff"}, '"is_staff" cannot be the bucketing unit'),
    ({"bucket_by": "company"}, 'is company; use a metric with unit="company"'),
    ({"rules": [{**GERMANY, "rollout_percent": 50}]}, "rule 1 has a rollout of 50 %"),
    ({"rules": [{"op": 1}]}, "rule 1"),
    ({"rules": [{"conditions": [{"segment": "big"}]}]}, "'big'"),
    ({"primary": "other"}, "has no metric 'other'"),
    ({"guardrails": {"": 0.1}}, "has no metric ''"),
    ({"others": ["orders"]}, "the metric orders has two roles"),
    ({"planned_units": 0}, "planned_units is 0; write a whole number from 1"),
    ({"planned_units": True}, "planned_units is True"),
    ({"min_days": -1}, "min_days is -1"),
    ({"min_units": 10**12}, "min_units is 1000000000000"),
    ({"smallest_effect": 0}, "the smallest effect is 0; write a number above 0"),
    ({"smallest_effect": float("nan")}, "the smallest effect is nan"),
]


@pytest.mark.parametrize(("settings_", "problem"), INVALID)
def test_invalid_setting_is_refused_and_changes_nothing(
    settings_: dict[str, Any], problem: str, draft: Experiment
) -> None:
    before = Experiment.objects.values().get()
    # The error is in English in every language.
    with override("de"), pytest.raises(InvalidExperimentError, match=re.escape(problem)):
        experiments.create("other", **{"primary": "orders", **settings_})
    with pytest.raises(InvalidExperimentError, match=re.escape(problem)):
        experiments.edit(KEY, description="new", **settings_)
    assert Experiment.objects.values().get() == before


def test_variant_that_a_unit_is_forced_to_cannot_be_removed(draft: Experiment) -> None:
    experiments.force(KEY, "42", "treatment")
    with pytest.raises(InvalidExperimentError, match="42 is forced to treatment; keep this"):
        experiments.edit(KEY, variants=["control", "green"])


@pytest.mark.parametrize("unit", ["", "7\0", "\N{EURO SIGN}" * 86])
def test_text_that_no_unit_has_cannot_be_forced(unit: str, running: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match="is no unit; write 1 to 255 bytes"):
        experiments.force(KEY, unit, "control")


def test_key_that_is_taken_and_unknown_experiment_or_variant_are_refused(
    running: Experiment,
) -> None:
    FeatureFlag.objects.create(key="a_flag")
    with pytest.raises(InvalidExperimentError, match="a_flag is the key of a flag"):
        experiments.create("a_flag")
    KeyValueStore.objects.create(key="a_value", value=1)
    with pytest.raises(InvalidExperimentError, match="a_value is the key of a value"):
        experiments.create("a_value")
    with pytest.raises(InvalidExperimentError, match=f"there is an experiment {KEY} already"):
        experiments.create(KEY)
    with pytest.raises(UnknownExperimentError, match="there is no experiment other; create it"):
        experiments.start("other")
    with pytest.raises(InvalidExperimentError, match="has no variant 'other'"):
        experiments.ship(KEY, "other")


def test_edit_writes_settings_with_an_event_of_old_and_new_values(draft: Experiment) -> None:
    # The event is in English in every language.
    with override("de"), acting_as("ana", reason="typo"):
        experiments.edit(
            KEY,
            description="Is green better?",
            variants=["control", "green:3"],
            traffic_percent=40,
            rules=[GERMANY],
            primary="revenue",
            guardrails={"complaints": 0.01},
        )
    experiment = stored()
    assert (experiment.description, experiment.rules) == ("Is green better?", [GERMANY])
    assert experiment.variants == [{"key": "control", "weight": 1}, {"key": "green", "weight": 3}]
    assert (experiment.primary_metric, experiment.guardrails) == ("revenue", {"complaints": 0.01})
    event = newest_event()
    assert (event.kind, event.actor, event.reason) == ("edited", "ana", "typo")
    assert event.message == (
        "edited: Description: Green? → Is green better?; "
        "Variants: control 50.0 %, treatment 50.0 % → control 10.0 %, green 30.0 %; "
        'Traffic in percent: 100 → 40; Rules: none → rule 1: 100 % if country is "DE"; '
        "Primary metric: orders → revenue; Guardrails: none → complaints (0.01)"
    )


def test_event_has_large_numbers_without_separators(draft: Experiment) -> None:
    # German pages quote it, and read "20,000" as 20.
    experiments.edit(KEY, planned_units=20_000, min_units=1000, guardrails={"revenue": 1234.5})
    assert newest_event().message == (
        "edited: Guardrails: none → revenue (1234); Planned units: 4000 → 20000; "
        "Units before a verdict: 100 → 1000"
    )


def test_edit_without_a_change_leaves_no_event_and_the_same_shares_say_so(
    draft: Experiment,
) -> None:
    experiments.edit(KEY, description="Green?", variants=["control", "treatment"])
    assert newest_event().kind == "created"
    experiments.edit(KEY, variants=["control:2", "treatment:2"])
    assert stored().variants[0]["weight"] == 2
    assert newest_event().message == "edited: no share changes"


def test_unknown_setting_is_an_error(draft: Experiment) -> None:
    with pytest.raises(TypeError, match="has no settings state"):
        experiments.edit(KEY, state="running")  # type: ignore[call-arg]


def test_restart_begins_a_run_with_other_variants_and_all_metrics(running: Experiment) -> None:
    experiments.add_metric(KEY, "revenue")
    Experiment.objects.update(started_at=LONG_AGO, runs_since=LONG_AGO)
    experiments.restart(KEY, variants=["control", "green:3"], traffic_percent=20)
    experiment = stored()
    assert (experiment.state, experiment.run, experiment.traffic_percent) == (State.RUNNING, 1, 20)
    assert (experiment.other_metrics, experiment.added_metrics) == (["revenue"], {})
    assert experiment.started_at == experiment.runs_since
    assert experiment.started_at is not None
    assert experiment.started_at > LONG_AGO
    event = newest_event()
    assert event.kind == "restarted"
    assert event.message == (
        "restarted: the exposures so far are no longer reported; Variants: control 50.0 %, "
        "treatment 50.0 % → control 5.00 %, green 15.0 %; Traffic in percent: 100 → 20"
    )


# What may change after the start, and what the state does not allow.


def test_metric_whose_times_are_days_is_refused_before_the_start(draft: Experiment) -> None:
    experiments.edit(KEY, others=["by_day"])
    with pytest.raises(InvalidExperimentError, match="by_day: the time of the source of a metric"):
        experiments.start(KEY)
    assert stored().state == State.DRAFT
    experiments.edit(KEY, others=[])
    experiments.start(KEY)
    with pytest.raises(InvalidExperimentError, match="by_day: the time of the source of a metric"):
        experiments.add_metric(KEY, "by_day")


def test_traffic_grows_and_does_not_fall(draft: Experiment) -> None:
    experiments.edit(KEY, traffic_percent=20)
    experiments.start(KEY)
    assert experiments.grow(KEY, 50).traffic_percent == 50
    assert newest_event().message == "traffic: 20 % → 50 %"
    events = ExperimentEvent.objects.count()
    experiments.grow(KEY, 50)
    assert ExperimentEvent.objects.count() == events
    with pytest.raises(ExperimentError, match=r"is 50 % and can only grow.*restart it with less"):
        experiments.grow(KEY, 40)


@pytest.mark.parametrize(("metric", "problem"), [("orders", "already"), ("other", "no metric")])
def test_metric_that_cannot_be_added_is_refused(
    running: Experiment, metric: str, problem: str
) -> None:
    with pytest.raises(InvalidExperimentError, match=problem):
        experiments.add_metric(KEY, metric)


Change = Callable[[str], object]


@pytest.mark.parametrize(
    ("before", "change", "states"),
    [
        ([], lambda key: experiments.ship(key, "control"), "draft; * running / stopped"),
        ([], lambda key: experiments.grow(key, 50), "draft; * running / stopped"),
        (["start"], lambda key: experiments.edit(key, description="web"), "running; * draft"),
        (["start", "ship"], experiments.start, "shipped; * draft / stopped"),
        (["start", "ship"], experiments.restart, "shipped; * running / stopped"),
        (["start", "ship"], lambda key: experiments.ship(key, "a"), "shipped; * running / stopped"),
    ],
)
def test_change_that_the_state_does_not_allow_is_refused(
    before: list[str], change: Change, states: str, draft: Experiment
) -> None:
    for name in before:
        getattr(experiments, name)(KEY, *["treatment"] * (name == "ship"))
    with pytest.raises(ExperimentError) as refused:
        change(KEY)
    expected = states.replace("*", "this action is only for an experiment that is")
    assert str(refused.value) == f"{KEY} is {expected}"


def test_time_for_which_an_experiment_was_stopped_is_not_counted(running: Experiment) -> None:
    experiments.stop(KEY)
    began = datetime.now(timezone.utc) - timedelta(days=9)
    ended = began + timedelta(days=2)
    Experiment.objects.update(started_at=began, runs_since=began, ended_at=ended)
    experiments.ship(KEY, "control")
    experiments.undo(KEY)
    assert stored().ended_at == ended
    experiments.start(KEY)
    runs_since = stored().runs_since
    assert runs_since is not None
    ran_for = datetime.now(timezone.utc) - runs_since
    assert timedelta(days=2) <= ran_for < timedelta(days=3)


def test_undo_of_a_stop_runs_with_all_exposures(better: Experiment) -> None:
    experiments.stop(KEY)
    with acting_as("ana", reason="wrong experiment"):
        experiments.undo(KEY)
    experiment = stored()
    assert (experiment.state, experiment.run, experiment.ended_at) == (State.RUNNING, 0, None)
    assert experiments.report(KEY)["exposures"]["units"] == {"control": 2000, "treatment": 2000}
    event = newest_event()
    assert (event.kind, event.actor, event.reason) == ("undone", "ana", "wrong experiment")
    assert event.message == (
        "undone: “stopped: every call returns its default”; it is running again, with all exposures"
    )


@pytest.mark.parametrize("change", [experiments.start, experiments.restart])
def test_undo_is_refused_if_something_else_happened_since(
    change: Change, running: Experiment
) -> None:
    experiments.stop(KEY)
    change(KEY)
    last = newest_event().message
    with pytest.raises(ExperimentError) as refused:
        experiments.undo(KEY)
    assert str(refused.value) == (
        f"{KEY} cannot be undone: only a stop or a ship can, but the last change is “{last}”. "
        "Start, stop or ship it instead"
    )


def test_change_that_would_close_the_way_back_to_a_shipped_experiment_is_refused(
    shipped: Experiment,
) -> None:
    experiments.stop(KEY)
    changes_of_the_run: list[Change] = [
        experiments.start,
        experiments.restart,
        lambda key: experiments.grow(key, 100),
        lambda key: experiments.add_metric(key, "revenue"),
    ]
    for change in changes_of_the_run:
        with pytest.raises(ExperimentError, match="its report is stored; undo what was done last"):
            change(KEY)
    experiments.undo(KEY)
    assert experiments.undo(KEY).state == State.RUNNING


@COMMITTED
def test_ship_is_refused_if_the_experiment_changes_while_its_report_is_made(
    running: Experiment,
) -> None:
    with pytest.raises(ExperimentError, match="was changed while its report was made; ship it"):
        run_during(
            lambda: experiments.restart(KEY, traffic_percent=40),
            lambda: experiments.ship(KEY, "treatment"),
        )
    assert (stored().state, stored().run) == (State.RUNNING, 1)


def test_deleted_experiment_leaves_its_events_and_a_free_key(running: Experiment) -> None:
    changes.segments.create("big", [{"attribute": "plan", "operator": "in", "values": ["pro"]}])
    Experiment.objects.update(rules=rules("big"))
    experiments.stop(KEY)
    experiments.delete(KEY)
    changes.segments.delete("big")
    assert not Exposure.objects.exists()
    experiments.create(KEY, variants=["control", "treatment"])
    kept = all_rows(ExperimentEvent).filter(experiment__key=f"{KEY} (deleted {running.pk})")
    kinds = ["created", "started", "stopped", "deleted"]
    events = [*kept.order_by("id")]
    assert [event.kind for event in events] == kinds
    assert events[3].message == "deleted; it was stopped"
    # Managers hide them, as the experiment.
    assert newest_event().kind == "created"


def test_experiment_whose_variants_sql_has_made_null_can_be_deleted(draft: Experiment) -> None:
    Experiment.objects.update(variants=Value(None, JSONField()))
    experiments.delete(KEY)
    assert not Experiment.objects.exists()


def test_forgotten_user_is_no_actor_of_deleted_experiments(draft: Experiment) -> None:
    with acting_as("7"):
        experiments.delete(KEY)
    forget_user("7")
    assert not all_rows(ExperimentEvent).filter(actor="7").exists()


def test_undo_to_running_is_refused_after_the_exposures_were_deleted(shipped: Experiment) -> None:
    assert experiments.prune(timedelta(0)) == 4000
    report = stored().frozen_report
    with pytest.raises(ExperimentError, match="its exposures were deleted"):
        experiments.undo(KEY)
    experiments.stop(KEY)
    with pytest.raises(ExperimentError, match="its exposures were deleted"):
        experiments.start(KEY)
    experiments.undo(KEY)
    assert (stored().winner, stored().frozen_report) == ("treatment", report)


def test_undo_to_running_is_refused_without_a_segment_of_the_rules(running: Experiment) -> None:
    changes.segments.create("big", [{"attribute": "plan", "operator": "in", "values": ["pro"]}])
    Experiment.objects.update(rules=rules("big"))
    experiments.ship(KEY, "treatment")
    changes.segments.delete("big")
    with pytest.raises(ExperimentError, match="'big'"):
        experiments.undo(KEY)
    assert stored().state == State.SHIPPED
