"""Experiments over time: keys, checks, forgotten users, and exposures that are deleted."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.exceptions import ExperimentError, InvalidChangeError
from flagstaff.experiments.checks import check_experiments, check_metrics
from flagstaff.experiments.metrics import Conversion, Sql
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
PATH = "tests.database.experiments.test_upkeep"

wrong_unit = Conversion(lambda: Sql("SELECT 1"), window=timedelta(days=1), unit="is_staff")
raising = Conversion(lambda: Sql(str(1 // 0)), window=timedelta(days=1))
number = 7


def of_new_flags() -> Sql:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id FROM not_migrated_yet")
    return Sql("SELECT 1")


querying = Conversion(of_new_flags, window=timedelta(days=1))
broken = Conversion(lambda: Sql("SELECT nothing"), window=timedelta(days=1))


@pytest.fixture
def experiment() -> Experiment:
    experiments.create(KEY)
    return experiments.start(KEY)


def expose(experiment: Experiment, unit: str, user_pk: str | None = None) -> None:
    Exposure.objects.create(
        experiment=experiment,
        shuffle=0,
        unit=unit,
        variant="control",
        phase=1,
        user_pk=user_pk,
        at=datetime.now(timezone.utc),
    )


def exposed() -> list[str]:
    return sorted(Exposure.objects.values_list("unit", flat=True))


def ids() -> list[str]:
    return [str(message.id) for message in check_experiments(databases=["default"])]


# Keys.


def test_flag_with_the_key_of_an_experiment_is_refused(experiment: Experiment) -> None:
    with pytest.raises(InvalidChangeError, match=f"{KEY} is the key of an experiment"):
        changes.create(KEY)
    with pytest.raises(ValidationError, match=f"{KEY} is the key of an experiment"):
        FeatureFlag(key=KEY).full_clean()
    assert not FeatureFlag.objects.exists()


def test_form_refuses_a_flag_with_the_key_of_an_experiment(
    experiment: Experiment, admin_client: Client
) -> None:
    response = admin_client.post(f"{FLAGS}add/", {"key": KEY, "rollout_percent": 0})
    assert f"{KEY} is the key of an experiment" in response.content.decode()


def test_import_refuses_flags_with_the_key_of_an_experiment(
    experiment: Experiment, tmp_path: Any
) -> None:
    file = tmp_path / "flags.json"
    flags = {KEY: {"enabled": True}, "another": {"enabled": True}}
    file.write_text(json.dumps({"flagstaff": 1, "flags": flags}))
    with pytest.raises(Exception, match="is the key of an experiment"):
        call_command("flags", "import", str(file), "--yes")
    assert not FeatureFlag.objects.exists()


def test_flag_that_has_the_key_already_can_be_changed(experiment: Experiment) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=KEY)])
    assert changes.enable(KEY).written


def test_flag_can_be_created_before_the_migration_of_experiments() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Experiment._meta.db_table} RENAME TO hidden")
    assert changes.create("new_flag").written


# Checks.


def test_flag_and_experiment_with_one_key_are_reported(experiment: Experiment) -> None:
    assert ids() == []
    FeatureFlag.objects.bulk_create([FeatureFlag(key=KEY)])
    assert ids() == ["flagstaff.W047"]


def test_missing_trigger_is_reported() -> None:
    with connection.cursor() as cursor:
        table = Experiment._meta.db_table
        cursor.execute(f"DROP TRIGGER flagstaff_token_v1 ON {table}")
    assert ids() == ["flagstaff.W046"]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"METRICS": {"a": f"{PATH}.missing"}}, "which cannot be imported"),
        ({"METRICS": {"a": f"{PATH}.number"}}, "which is no metric"),
        ({"METRICS": {"a": f"{PATH}.raising"}}, "the source of a metric fails: Zero"),
        ({"METRICS": {"a": f"{PATH}.wrong_unit"}}, '"is_staff" cannot be the bucketing unit'),
        ({"EXCLUDED_UNITS": {"user": f"{PATH}.missing"}}, "which cannot be imported"),
        ({"EXCLUDED_UNITS": {"user": f"{PATH}.number"}}, "which is no function"),
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
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"a": f"{PATH}.querying"}}
    assert check_metrics() == []


# Forgotten users.


def test_forgotten_user_leaves_no_exposure_override_or_actor(experiment: Experiment) -> None:
    by_visitor = experiments.create("banner", bucket_by="visitor")
    expose(experiment, "7")
    expose(experiment, "8")
    expose(by_visitor, "visitor-1", user_pk="7")
    expose(by_visitor, "7")
    experiments.force(KEY, "7", "treatment")
    ExperimentEvent.objects.update(actor="7")
    forget_user("7")
    # A visitor with the text "7" is somebody else.
    assert exposed() == ["7", "8"]
    assert Exposure.objects.get(unit="7").experiment_id == by_visitor.pk
    assert Experiment.objects.get(key=KEY).overrides == {}
    assert not ExperimentEvent.objects.filter(actor="7").exists()


def test_forgotten_visitor_leaves_no_exposure_from_before_the_login(
    experiment: Experiment,
) -> None:
    for key in ("banner", "wine"):
        experiments.create(key, bucket_by="visitor")
    banner, wine = (Experiment.objects.get(key=key) for key in ("banner", "wine"))
    expose(banner, "visitor-1", user_pk="7")
    expose(wine, "visitor-1")
    expose(wine, "visitor-2")
    expose(experiment, "visitor-1")
    forget_user("7")
    assert exposed() == ["visitor-1", "visitor-2"]
    assert Exposure.objects.get(unit="visitor-1").experiment_id == experiment.pk


def test_company_of_a_forgotten_user_stays_without_the_user() -> None:
    expose(experiments.create("banner", bucket_by="company"), "acme", user_pk="7")
    forget_user("7")
    assert Exposure.objects.get().user_pk is None


# Retention.


def end_long_ago() -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(days=400)
    Experiment.objects.update(ended_at=long_ago)


def test_old_exposures_are_deleted_and_the_report_stays(experiment: Experiment) -> None:
    expose(experiment, "1")
    experiments.stop(KEY)
    end_long_ago()
    before = experiments.report(KEY)
    out = io.StringIO()
    call_command("flags", "experiments", "--prune", "--older-than", "365", "--yes", stdout=out)
    assert exposed() == []
    after = experiments.report(KEY)
    assert after["frozen_at"]
    assert after["exposures"] == before["exposures"]


def test_exposures_of_running_and_newly_ended_experiments_stay(experiment: Experiment) -> None:
    expose(experiment, "1")
    assert experiments.prune(timedelta(days=1)) == 0
    experiments.stop(KEY)
    assert experiments.prune(timedelta(days=1)) == 0
    assert exposed() == ["1"]


def test_experiment_without_its_exposures_cannot_be_started(experiment: Experiment) -> None:
    expose(experiment, "1")
    experiments.stop(KEY)
    end_long_ago()
    assert experiments.prune(timedelta(days=365)) == 1
    with pytest.raises(ExperimentError, match="because its exposures were deleted"):
        experiments.start(KEY)


def set_failing_metric(settings: Any, key: str) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"orders": f"{PATH}.broken"}}
    experiments.set_metrics(key, primary="orders")


def test_report_that_fails_keeps_only_its_own_exposures(
    experiment: Experiment, settings: Any
) -> None:
    set_failing_metric(settings, KEY)
    experiments.create("banner")
    banner = experiments.start("banner")
    experiments.create("wine")
    wine = experiments.start("wine")
    for one in (experiment, banner, wine):
        expose(one, one.key)
        experiments.stop(one.key)
    end_long_ago()
    with pytest.raises(ExperimentError, match=f"2 exposures were deleted, but the report of {KEY}"):
        experiments.prune(timedelta(days=365))
    assert exposed() == [KEY]


def test_exposures_of_an_experiment_that_was_shipped_without_a_report_are_deleted(
    experiment: Experiment, settings: Any
) -> None:
    set_failing_metric(settings, KEY)
    expose(experiment, "1")
    experiments.ship(KEY, "control", with_report=False)
    end_long_ago()
    assert experiments.prune(timedelta(days=365)) == 1


def test_shipping_without_a_report_keeps_the_one_that_was_stored(experiment: Experiment) -> None:
    expose(experiment, "1")
    experiments.stop(KEY)
    end_long_ago()
    experiments.prune(timedelta(days=365))
    experiments.ship(KEY, "control", with_report=False)
    assert experiments.report(KEY)["frozen_at"]
