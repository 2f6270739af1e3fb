"""Metrics, exposures and pages of experiments for tests."""

import random
from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import connection

from flagstaff.experiments.metrics import Conversion, Mean, Sql
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from tests.support.sql import forget_statistics

EXPERIMENTS = "/admin/flagstaff_experiments/experiment/"
KEY = "checkout_button"
DAY = timedelta(days=1)


def stored(key: str = KEY) -> Experiment:
    """The experiment as it is in the database."""
    return Experiment.objects.get(key=key)


def newest_event() -> ExperimentEvent:
    """What has happened last to an experiment."""
    return ExperimentEvent.objects.latest("id")


def experiment_url(experiment: Experiment, view: str = "change") -> str:
    return f"{EXPERIMENTS}{experiment.pk}/{view}/"


def _events() -> Sql:
    """Units whose name ends with "+" have an event, an hour after their exposure."""
    table = Exposure._meta.db_table
    return Sql(
        f"SELECT unit, 1::float8 AS value, at + interval '1 hour' AS time FROM {table} "
        "WHERE unit LIKE '%%+'"
    )


orders = Conversion(_events, window=DAY, description="a customer has paid")
revenue = Mean(_events, window=DAY)
complaints = Conversion(_events, window=DAY, higher_is_better=False)
broken = Conversion(lambda: Sql("SELECT nothing"), window=DAY)
by_day = Conversion(lambda: Sql("SELECT 7 AS unit, now()::date AS time"), window=DAY)
leaking = Conversion(
    lambda: Sql("SELECT 'private@person.example'::int AS unit, now() AS time"), window=DAY
)

_NAMES = ("orders", "revenue", "complaints", "broken", "by_day", "leaking")
METRICS = {name: f"{__name__}.{name}" for name in _NAMES}


def record_exposures(
    experiment: Experiment, exposures: list[tuple[str, str, datetime]], user_pk: str | None = None
) -> None:
    """Records that units met a variant at a time, in the first run."""
    Exposure.objects.bulk_create(
        Exposure(experiment=experiment, run=0, unit=unit, variant=variant, user_pk=user_pk, at=at)
        for unit, variant, at in exposures
    )


def expose_units(experiment: Experiment, *units: str, user_pk: str | None = None) -> None:
    """Records that units met the control just now."""
    now = datetime.now(timezone.utc)
    record_exposures(experiment, [(unit, "control", now) for unit in units], user_pk)


def expose(experiment: Experiment, variant: str, units: int, converted: int, **more: Any) -> None:
    """Spreads the exposures of a variant over ten days that ended two days ago."""
    days, name = more.get("days", 10), more.get("name", variant)
    begin = datetime.now(timezone.utc) - (days + 2) * DAY
    Experiment.objects.filter(pk=experiment.pk).update(started_at=begin, runs_since=begin)
    forget_statistics(Exposure._meta.db_table)
    order = list(range(units))
    random.Random(variant).shuffle(order)
    # Thousands of rows for a report: the ORM takes ten times as long.
    with connection.cursor() as cursor:
        cursor.execute(
            _EXPOSE,
            [experiment.pk, experiment.run, name, converted, variant, begin, days, units, order],
        )


_EXPOSE = """
    INSERT INTO flagstaff_experiments_exposure (experiment_id, run, unit, variant, at)
    SELECT %s, %s, concat(%s, number, CASE WHEN number < %s THEN '+' END), %s,
        %s + interval '24 hours' * %s * (place - 1)::float8 / %s
    FROM unnest(%s) WITH ORDINALITY AS drawn (number, place)
"""


def expose_both(
    experiment: Experiment, control: tuple[int, int], treatment: tuple[int, int], **more: Any
) -> None:
    """Spreads the exposures of two variants, each given as its units and those that converted."""
    expose(experiment, "control", *control, **more)
    expose(experiment, "treatment", *treatment, **more)
