"""Keys and checks of experiments, forgotten users, and what is deleted after the end."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.exceptions import ExperimentError, InvalidChangeError
from flagstaff.experiments import jobs
from flagstaff.experiments.metrics import Conversion, Sql
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS
from tests.support.experiments import DAY, KEY, METRICS, expose_units, stored
from tests.support.shop import Shop
from tests.support.sql import rows
from tests.support.terminals import document, flags


def of_new_flags() -> Sql:
    with transaction.atomic():
        rows("SELECT id FROM not_migrated_yet")
    return Sql("SELECT 1")


wrong_unit = Conversion(lambda: Sql("SELECT 1"), window=DAY, unit="is_staff")
raising = Conversion(lambda: Sql(str(1 // 0)), window=DAY)
querying = Conversion(of_new_flags, window=DAY)
number = 7
FAILING = "tests.support.failing_metrics.orders"


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
        ({"METRICS": {"a": FAILING}}, "cannot be imported: integer division"),
        ({"METRICS": {"a": f"{__name__}.number"}}, "which is no metric"),
        ({"METRICS": {"a": f"{__name__}.raising"}}, "the source of a metric fails: Zero"),
        ({"METRICS": {"a": f"{__name__}.wrong_unit"}}, '"is_staff" cannot be the bucketing unit'),
        # It needs a table that is not there before the first `migrate`.
        ({"METRICS": {"a": f"{__name__}.querying"}}, None),
        ({"EXCLUDED_UNITS": {"user": f"{__name__}.missing"}}, "which cannot be imported"),
        ({"EXCLUDED_UNITS": {"user": f"{__name__}.number"}}, "which is no function"),
    ],
)
def test_metric_that_cannot_be_used_is_an_error_of_the_checks(
    setting: dict[str, Any], problem: str | None, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, **setting}
    problems = [
        check.msg for check in run_checks(tags=["flagstaff"]) if check.id == "flagstaff.E045"
    ]
    assert len(problems) == (problem is not None)
    assert (problem or "") in "".join(problems)


def test_forgotten_user_leaves_no_exposure_override_or_actor(running: Experiment) -> None:
    by_visitor = experiments.create("banner", bucket_by="visitor")
    by_company = experiments.create("wine", bucket_by="company")
    expose_units(running, "7", "8")
    expose_units(by_visitor, "visitor-1", user_pk="7")
    expose_units(by_visitor, "7")
    expose_units(by_company, "acme", user_pk="7")
    experiments.force(KEY, "7", "treatment")
    ExperimentEvent.objects.update(actor="7")
    forget_user("7")
    # A visitor with the text "7" is somebody else.
    assert exposed() == ["7", "8", "acme"]
    assert Exposure.objects.get(unit="7").experiment_id == by_visitor.pk
    assert Exposure.objects.get(unit="acme").user_pk is None
    assert stored().overrides == {}
    assert not ExperimentEvent.objects.filter(actor="7").exists()
    # Also if SQL has broken them.
    Experiment.objects.filter(key=KEY).update(overrides=["7"])
    forget_user("7")
    assert stored().overrides == {}


def test_forgotten_visitor_leaves_no_earlier_exposure(running: Experiment) -> None:
    banner, wine = (experiments.create(key, bucket_by="visitor") for key in ("banner", "wine"))
    expose_units(banner, "visitor-1", user_pk="7")
    expose_units(wine, "visitor-1", "visitor-2")
    expose_units(running, "visitor-1")
    forget_user("7")
    assert exposed() == ["visitor-1", "visitor-2"]
    assert Exposure.objects.get(unit="visitor-1").experiment_id == running.pk


def end_long_ago() -> None:
    Experiment.objects.update(ended_at=datetime.now(timezone.utc) - 400 * DAY)


@pytest.fixture
def ended(running: Experiment) -> Experiment:
    """An experiment with one exposure that ended long ago."""
    expose_units(running, "1")
    experiments.stop(KEY)
    end_long_ago()
    return running


def test_old_exposures_are_deleted_and_the_report_stays_also_after_a_ship(
    ended: Experiment,
) -> None:
    before = experiments.report(KEY)
    assert experiments.prune(365 * DAY) == 1
    assert exposed() == []
    report = stored().frozen_report
    assert report["exposures"] == before["exposures"]
    with pytest.raises(ExperimentError, match="because its exposures were deleted"):
        experiments.start(KEY)
    experiments.ship(KEY, "control")
    assert stored().frozen_report == report
    assert experiments.report(KEY)["frozen_at"]


def test_exposures_of_running_and_newly_ended_experiments_stay(running: Experiment) -> None:
    expose_units(running, "1")
    assert experiments.prune(DAY) == 0
    experiments.stop(KEY)
    assert experiments.prune(DAY) == 0
    assert exposed() == ["1"]


def test_run_jobs_delete_exposures_of_experiments_that_ended_so_many_days_ago(
    shop: Shop, ended: Experiment, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_BATCH", 2)
    for experiment in (ended, shop.experiment("banner")):
        expose_units(experiment, "x", "y", "z")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXPOSURE_DAYS": 365}
    report = {"rows": "exposures", "deleted": 4, "error": None}
    assert document("run-jobs")["retention"] == [report]
    assert exposed() == ["x", "y", "z"]
    assert experiments.report(KEY)["frozen_at"]


def test_exposures_of_an_experiment_that_was_started_again_meanwhile_stay(
    shop: Shop, ended: Experiment
) -> None:
    expose_units(shop.experiment("banner"), "2")
    experiments.stop("banner")
    end_long_ago()
    batches = jobs.prune_in_batches(datetime.now(timezone.utc) - timedelta(days=365))
    assert next(batches) == 1
    [unit] = exposed()
    other = KEY if unit == "1" else "banner"
    experiments.start(other)
    experiments.stop(other)
    assert ([*batches], exposed()) == ([], [unit])


@pytest.mark.parametrize(
    "metrics_",
    [{"primary_metric": "orders"}, {"other_metrics": ["orders"]}, {"guardrails": {"orders": 0.1}}],
)
def test_failed_report_keeps_its_own_exposures(
    metrics_: dict[str, Any], shop: Shop, running: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["broken"]}
    Experiment.objects.update(**{"primary_metric": "", **metrics_})
    for experiment in (running, shop.experiment("banner"), shop.experiment("wine")):
        expose_units(experiment, experiment.key)
        experiments.stop(experiment.key)
    end_long_ago()
    with pytest.raises(ExperimentError, match=f"2 exposures were deleted, but the report of {KEY}"):
        experiments.prune(365 * DAY)
    assert exposed() == [KEY]


def test_exposures_of_an_experiment_that_was_shipped_without_a_report_are_deleted(
    running: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["broken"]}
    expose_units(running, "1")
    experiments.ship(KEY, "control")
    end_long_ago()
    assert experiments.prune(365 * DAY) == 1


def test_experiment_that_sql_has_broken_keeps_its_own_exposures_only(
    shop: Shop, running: Experiment
) -> None:
    for experiment in (running, shop.experiment("banner")):
        expose_units(experiment, experiment.key)
        experiments.stop(experiment.key)
    Experiment.objects.filter(key=KEY).update(variants=[5])
    end_long_ago()
    with pytest.raises(ExperimentError, match="the experiment cannot be read"):
        experiments.prune(365 * DAY)
    assert exposed() == [KEY]
