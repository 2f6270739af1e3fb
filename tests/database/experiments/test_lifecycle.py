"""What a person does with experiments; and their keys, checks, forgotten users and retention."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client
from django.utils.translation import override

from flagstaff import changes, experiments
from flagstaff.exceptions import (
    ExperimentError,
    InvalidChangeError,
    InvalidExperimentError,
    UnknownExperimentError,
)
from flagstaff.experiments import retention
from flagstaff.experiments.checks import check_metrics
from flagstaff.experiments.metrics import Conversion, Sql
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
from flagstaff.experiments.variants import shares_of
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS
from tests.support.sql import rows
from tests.support.terminals import document, flags

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


def newest_event() -> ExperimentEvent:
    return ExperimentEvent.objects.latest("id")


def test_created_experiment_is_a_draft_of_two_halves(draft: Experiment) -> None:
    found = stored()
    assert (found.state, found.run, found.started_at) == (State.DRAFT, 0, None)
    assert shares_of(found.variants) == {"control": 0.5, "treatment": 0.5}
    text = "created with control 1, treatment 1; 100 % of all units take part"
    assert (newest_event().kind, newest_event().message) == ("created", text)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"variants": ["control"]}, "has 1 variants"),
        ({"variants": ["a", "a"]}, 'two variants have the key "a"'),
        ({"variants": ["a:0", "b:0"]}, "all weights are 0"),
        ({"variants": ["a:x", "b"]}, '"a:x" is no variant'),
        ({"variants": ["a b", "c"]}, "variant 'a b': the key has"),
        ({"variants": ["a:10001", "b"]}, "the weight of a is 10001"),
        ({"traffic_percent": 101}, "traffic_percent is 101"),
        (
            {"variants": ["a:1", "b:9999", "c:9999"]},
            "a would get less than 0.01 % of the units; raise its weight",
        ),
        ({"traffic_percent": True}, "traffic_percent is True"),
        ({"bucket_by": "is_staff"}, '"is_staff" cannot be the bucketing unit'),
        ({"rules": [{**GERMANY, "rollout_percent": 50}]}, "rule 1 has a rollout of 50 %"),
        ({"rules": [{"op": 1}]}, "rule 1"),
    ],
)
def test_invalid_experiment_is_refused(options: dict[str, Any], problem: str) -> None:
    # The error is in English in every language.
    with override("de"), pytest.raises(InvalidExperimentError, match=re.escape(problem)):
        experiments.create(KEY, **options)
    assert not Experiment.objects.exists()


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


def test_change_that_the_state_does_not_allow_is_refused(draft: Experiment) -> None:
    with pytest.raises(ExperimentError) as refused:
        experiments.ship(KEY, "control")
    expected = f"{KEY} is draft; this action is only for an experiment that is running / stopped"
    assert str(refused.value) == expected
    experiments.start(KEY)
    with pytest.raises(ExperimentError, match="is running; this action is only for"):
        experiments.edit(KEY, description="web")
    experiments.ship(KEY, "treatment")
    for change in (experiments.start, experiments.restart, lambda key: experiments.ship(key, "a")):
        with pytest.raises(ExperimentError, match="is shipped"):
            change(KEY)


@pytest.mark.parametrize("unit", ["", "7\0", "\N{EURO SIGN}" * 86])
def test_text_that_no_unit_has_cannot_be_forced(unit: str, running: Experiment) -> None:
    with pytest.raises(InvalidExperimentError, match="is no unit; write 1 to 255 bytes"):
        experiments.force(KEY, unit, "control")


# Keys and checks.


wrong_unit = Conversion(lambda: Sql("SELECT 1"), window=timedelta(days=1), unit="is_staff")
raising = Conversion(lambda: Sql(str(1 // 0)), window=timedelta(days=1))
number = 7


def of_new_flags() -> Sql:
    with transaction.atomic():
        rows("SELECT id FROM not_migrated_yet")
    return Sql("SELECT 1")


querying = Conversion(of_new_flags, window=timedelta(days=1))
broken = Conversion(lambda: Sql("SELECT nothing"), window=timedelta(days=1))


def expose(experiment: Experiment, unit: str, user_pk: str | None = None) -> None:
    now = datetime.now(timezone.utc)
    seen: dict[str, Any] = {"unit": unit, "variant": "control", "user_pk": user_pk, "at": now}
    Exposure.objects.create(experiment=experiment, run=0, **seen)


def exposed() -> list[str]:
    return sorted(Exposure.objects.values_list("unit", flat=True))


def test_flag_with_the_key_of_an_experiment_is_refused(
    running: Experiment, admin_client: Client, tmp_path: Any
) -> None:
    problem = f"{KEY} is the key of an experiment"
    with pytest.raises(InvalidChangeError, match=problem):
        changes.flags.create(KEY)
    with pytest.raises(InvalidChangeError, match=problem):
        changes.values.create(KEY, 1)
    with pytest.raises(ValidationError, match=problem):
        FeatureFlag(key=KEY).full_clean()
    typed = {"key": KEY, "rollout_percent": 0, "kind": "release", "bucket_by": "user"}
    response = admin_client.post(f"{FLAGS}add/", typed)
    assert problem in response.content.decode()
    file = tmp_path / "flags.json"
    rows_of_file = {KEY: {"enabled": True}, "another": {"enabled": True}}
    file.write_text(json.dumps({"flagstaff": 1, "flags": rows_of_file}))
    assert "is the key of an experiment" in flags("import", str(file), "--yes").err
    assert not FeatureFlag.objects.exists()


def test_flag_and_value_that_have_the_key_by_sql_can_be_changed(running: Experiment) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=KEY)])
    KeyValueStore.objects.create(key=KEY, value=1)
    assert changes.flags.enable(KEY).written
    assert changes.values.set(KEY, 2).written


def test_flag_can_be_created_before_the_migration_of_experiments() -> None:
    rows(f"ALTER TABLE {Experiment._meta.db_table} RENAME TO hidden")
    assert changes.flags.create("new_flag").written


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"METRICS": {"a": f"{__name__}.missing"}}, "which cannot be imported"),
        ({"METRICS": {"a": f"{__name__}.number"}}, "which is no metric"),
        ({"METRICS": {"a": f"{__name__}.raising"}}, "the source of a metric fails: Zero"),
        ({"METRICS": {"a": f"{__name__}.wrong_unit"}}, '"is_staff" cannot be the bucketing unit'),
        ({"EXCLUDED_UNITS": {"user": f"{__name__}.missing"}}, "which cannot be imported"),
        ({"EXCLUDED_UNITS": {"user": f"{__name__}.number"}}, "which is no function"),
    ],
)
def test_metric_that_cannot_be_used_is_an_error(
    setting: dict[str, Any], problem: str, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, **setting}
    [message] = check_metrics()
    assert message.id == "flagstaff.E045"
    assert problem in message.msg


def test_source_that_needs_a_missing_table_is_no_error(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"a": f"{__name__}.querying"}}
    assert check_metrics() == []


# Forgotten users.


def test_forgotten_user_leaves_no_exposure_override_or_actor(running: Experiment) -> None:
    by_visitor = experiments.create("banner", bucket_by="visitor")
    by_company = experiments.create("wine", bucket_by="company")
    expose(running, "7")
    expose(running, "8")
    expose(by_visitor, "visitor-1", user_pk="7")
    expose(by_visitor, "7")
    expose(by_company, "acme", user_pk="7")
    experiments.force(KEY, "7", "treatment")
    ExperimentEvent.objects.update(actor="7")
    forget_user("7")
    # A visitor with the text "7" is somebody else.
    assert exposed() == ["7", "8", "acme"]
    assert Exposure.objects.get(unit="7").experiment_id == by_visitor.pk
    assert Exposure.objects.get(unit="acme").user_pk is None
    assert Experiment.objects.get(key=KEY).overrides == {}
    assert not ExperimentEvent.objects.filter(actor="7").exists()


def test_forgotten_visitor_leaves_no_earlier_exposure(running: Experiment) -> None:
    for key in ("banner", "wine"):
        experiments.create(key, bucket_by="visitor")
    banner, wine = (Experiment.objects.get(key=key) for key in ("banner", "wine"))
    expose(banner, "visitor-1", user_pk="7")
    expose(wine, "visitor-1")
    expose(wine, "visitor-2")
    expose(running, "visitor-1")
    forget_user("7")
    assert exposed() == ["visitor-1", "visitor-2"]
    assert Exposure.objects.get(unit="visitor-1").experiment_id == running.pk


# Retention.


def end_long_ago() -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(days=400)
    Experiment.objects.update(ended_at=long_ago)


@pytest.fixture
def ended(running: Experiment) -> Experiment:
    """An experiment with one exposure that ended long ago."""
    expose(running, "1")
    experiments.stop(KEY)
    end_long_ago()
    return running


def test_old_exposures_are_deleted_and_the_report_stays(ended: Experiment) -> None:
    before = experiments.report(KEY)
    experiments.prune(timedelta(days=365))
    assert exposed() == []
    after = experiments.report(KEY)
    assert after["frozen_at"]
    assert after["exposures"] == before["exposures"]


def test_exposures_of_running_and_newly_ended_experiments_stay(running: Experiment) -> None:
    expose(running, "1")
    assert experiments.prune(timedelta(days=1)) == 0
    experiments.stop(KEY)
    assert experiments.prune(timedelta(days=1)) == 0
    assert exposed() == ["1"]


def test_run_jobs_delete_exposures_of_experiments_that_ended_so_many_days_ago(
    ended: Experiment, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    experiments.create("banner")
    banner = experiments.start("banner")
    for unit in ("x", "y", "z"):
        expose(ended, unit)
        expose(banner, unit)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXPOSURE_DAYS": 365}
    report = {"rows": "exposures", "deleted": 4, "error": None}
    assert document("run-jobs")["retention"] == [report]
    assert exposed() == ["x", "y", "z"]
    assert experiments.report(KEY)["frozen_at"]


def test_experiment_without_its_exposures_keeps_its_report(ended: Experiment) -> None:
    assert experiments.prune(timedelta(days=365)) == 1
    with pytest.raises(ExperimentError, match="because its exposures were deleted"):
        experiments.start(KEY)
    experiments.ship(KEY, "control")
    assert experiments.report(KEY)["frozen_at"]


def set_failing_metric(settings: Any, key: str, **metrics: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"orders": f"{__name__}.broken"}}
    columns = {"primary": "primary_metric", "others": "other_metrics"}
    given = metrics or {"primary": "orders"}
    found = {columns.get(name, name): value for name, value in given.items()}
    Experiment.objects.filter(key=key).update(**found)


def test_exposures_of_an_experiment_that_was_started_again_meanwhile_stay(
    ended: Experiment,
) -> None:
    experiments.create("banner")
    expose(experiments.start("banner"), "2")
    experiments.stop("banner")
    end_long_ago()
    batches = retention.prune_in_batches(datetime.now(timezone.utc) - timedelta(days=365))
    assert next(batches) == 1
    [unit] = exposed()
    other = KEY if unit == "1" else "banner"
    experiments.start(other)
    experiments.stop(other)
    assert ([*batches], exposed()) == ([], [unit])


@pytest.mark.parametrize(
    "metrics", [{"primary": "orders"}, {"others": ["orders"]}, {"guardrails": {"orders": 0.1}}]
)
def test_failed_report_keeps_its_own_exposures(
    metrics: dict[str, Any], running: Experiment, settings: Any
) -> None:
    set_failing_metric(settings, KEY, **metrics)
    experiments.create("banner")
    banner = experiments.start("banner")
    experiments.create("wine")
    wine = experiments.start("wine")
    for one in (running, banner, wine):
        expose(one, one.key)
        experiments.stop(one.key)
    end_long_ago()
    with pytest.raises(ExperimentError, match=f"2 exposures were deleted, but the report of {KEY}"):
        experiments.prune(timedelta(days=365))
    assert exposed() == [KEY]


def test_exposures_of_an_experiment_that_was_shipped_without_a_report_are_deleted(
    running: Experiment, settings: Any
) -> None:
    set_failing_metric(settings, KEY)
    expose(running, "1")
    experiments.ship(KEY, "control")
    end_long_ago()
    assert experiments.prune(timedelta(days=365)) == 1
