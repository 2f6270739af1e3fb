"""Sources of metrics: the shapes of queries that are read, and the errors of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F, FloatField, QuerySet, Value
from django.db.models.functions import TruncDate
from django.test import Client

from flagstaff import experiments
from flagstaff.exceptions import ConfigurationError, ExperimentError
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Conversion, Mean, Retention, Sql, find_metric
from flagstaff.experiments.models import Exposure
from flagstaff.experiments.sources import excluded_units, rows_of
from tests.support.experiment_pages import experiment_url

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
#: In another order than that of a report.
COLUMNS: dict[str, Any] = {
    "value": Value(1.5, FloatField()),
    "time": F("date_joined"),
    "unit": F("pk"),
}


@pytest.fixture
def users() -> list[User]:
    """Their names are in another order than they have joined in."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return [
        User.objects.create(username=name, last_name="same", date_joined=begin + number * DAY)
        for number, name in enumerate(("c", "a", "b"))
    ]


def read(source: Callable[[], Any]) -> list[tuple[Any, ...]]:
    """The rows as a report reads them: the unit and the value."""
    text, params = rows_of(source, ("unit", "value", "time"), "the source")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT unit::text, value::float8 FROM {text}", params)
        return sorted(cursor.fetchall())


def texts(users: list[User], *values: float) -> list[tuple[str, float]]:
    return sorted((str(user.pk), value) for user in users for value in values)


def raising() -> QuerySet[Any]:
    raise KeyError("shop")


fails = Conversion(raising, window=DAY)
infinite = Mean(
    lambda: Sql(
        "SELECT '7' AS unit, 'Infinity'::float8 AS value, now() - interval '2 days' AS time"
    ),
    window=DAY,
)


def test_union_is_read_by_the_names_of_its_columns(users: list[User]) -> None:
    def source() -> QuerySet[Any, Any]:
        return User.objects.values(**COLUMNS).union(
            User.objects.values(**{**COLUMNS, "value": Value(2.5, FloatField())}), all=True
        )

    # Both have the columns of their first query in an order that is not the one of the report.
    assert read(source) == texts(users, 1.5, 2.5)


def test_slice_keeps_its_order(users: list[User]) -> None:
    rows = User.objects.order_by("username").values(**COLUMNS)[:1]
    assert read(lambda: rows) == texts(users[1:2], 1.5)


def test_first_row_of_each_keeps_its_order(users: list[User]) -> None:
    rows = User.objects.order_by("last_name", "-date_joined").distinct("last_name")
    assert read(lambda: rows.values(**COLUMNS)) == texts(users[2:], 1.5)


@pytest.mark.parametrize("end", [";", " ; \n", " -- all of them"])
def test_sql_may_end_with_a_semicolon_or_a_comment(end: str) -> None:
    assert read(lambda: Sql(f"SELECT 7 AS unit, 1 AS value, now() AS time{end}")) == [("7", 1.0)]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (lambda: Sql("SELECT 1 WHERE path LIKE '/cart/%'"), "write %% for a percent sign"),
        (lambda: Sql("SELECT 1 WHERE path LIKE %s"), r"1 placeholders \(%s\), but 0 params"),
        (raising, "the source fails: KeyError: 'shop'"),
        (
            lambda: User.objects.values(unit=F("pk"), value=F("pk"), time=TruncDate("date_joined")),
            "the time of the source is a date",
        ),
    ],
)
def test_source_that_cannot_be_read_is_refused(source: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read(source)


def test_time_before_the_exposure_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not be before the exposure"):
        Retention(raising, day=-1)
    with pytest.raises(ConfigurationError, match="must not be negative"):
        Mean(raising, window=DAY, covariate=-DAY)


def test_module_that_fails_is_an_error_of_the_setting(settings: Any) -> None:
    path = "tests.support.failing_metrics.orders"
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"orders": path}}
    with pytest.raises(ConfigurationError, match="cannot be imported: integer division"):
        find_metric("orders")


def test_value_that_is_no_finite_number_is_refused() -> None:
    experiment = experiments.create("checkout_button")
    at = datetime.now(timezone.utc) - 2 * DAY - timedelta(hours=2)
    Exposure.objects.create(
        experiment=experiment, shuffle=0, unit="7", variant="control", phase=1, at=at
    )
    with pytest.raises(ConfigurationError, match="a value is NaN or infinite"):
        measure(experiment, Mean(infinite.source, window=2 * DAY))


def test_source_that_raises_leaves_the_page_and_names_the_way_to_ship(
    settings: Any, admin_client: Client
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {"orders": f"{__name__}.fails"}}
    experiment = experiments.create("checkout_button")
    experiments.set_metrics("checkout_button", primary="orders")
    experiments.start("checkout_button")
    response = admin_client.get(experiment_url(experiment))
    assert response.status_code == 200
    assert "KeyError" in response.content.decode()
    with pytest.raises(ExperimentError, match=r"the metric orders fails.*--without-report"):
        experiments.ship("checkout_button", "control")


def nobody() -> QuerySet[Any, Any]:
    return User.objects.filter(pk__in=[]).values(unit=F("pk"))


def test_empty_query_of_excluded_units_excludes_nobody(settings: Any) -> None:
    path = f"{__name__}.nobody"
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": path}}
    assert excluded_units("user") == ("", [])
