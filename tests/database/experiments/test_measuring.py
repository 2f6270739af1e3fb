"""The sums of metrics equal those of a computation by user in Python."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Value
from django.test.utils import CaptureQueriesContext

from flagstaff import experiments
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Conversion, Mean, Metric, Ratio, Retention, Sql
from flagstaff.experiments.models import Experiment, Exposure

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2026, 1, 5, 10, 30, tzinfo=timezone.utc)
#: Unit, value, time.
Event = tuple[str, float, datetime]


@pytest.fixture
def experiment() -> Experiment:
    return experiments.create(KEY)


def expose(experiment: Experiment, rows: list[tuple[str, str, datetime]], **more: Any) -> None:
    Exposure.objects.bulk_create(
        Exposure(
            experiment=experiment,
            shuffle=0,
            unit=unit,
            variant=variant,
            phase=more.get("phase", 1),
            user_pk=more.get("user_pk"),
            at=at,
        )
        for unit, variant, at in rows
    )


def rows_of(events: list[Event]) -> Callable[[], Sql]:
    """A source with these events."""
    row = "(%s::text, %s::float8, %s::timestamptz)"
    values = ", ".join([row] * len(events)) or "('', 0::float8, now())"
    params = tuple(part for event in events for part in event)
    text = f"SELECT * FROM (VALUES {values}) AS events (unit, value, time)"
    return lambda: Sql(text, params)


def nodes(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The kind of each node of a plan, and how often it ran."""
    yield plan["Node Type"], plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def totals(experiment: Experiment, metric: Metric) -> dict[str, tuple[int, float]]:
    """The users and the sum of their values by variant."""
    found: dict[str, tuple[int, float]] = {}
    for one in measure(experiment, metric):
        users, total = found.get(one.variant, (0, 0.0))
        sums = one.sums
        found[one.variant] = users + sums.users, total + sums.of_y.mean * sums.users
    return {arm: (users, round(total, 6)) for arm, (users, total) in found.items()}


def test_conversion_counts_units_with_an_event_in_the_window(experiment: Experiment) -> None:
    expose(experiment, [(unit, "control", START) for unit in "abcd"])
    events = [
        ("a", 1.0, START),
        ("a", 1.0, START + HOUR),
        ("b", 1.0, START + DAY),
        ("c", 1.0, START - HOUR),
        ("other", 1.0, START),
    ]
    metric = Conversion(rows_of(events), window=DAY)
    assert totals(experiment, metric) == {"control": (4, 1.0)}


def test_retention_counts_units_that_come_back_on_that_day(experiment: Experiment) -> None:
    expose(experiment, [(unit, "control", START) for unit in "abc"])
    events = [("a", 1.0, START + HOUR), ("b", 1.0, START + 7 * DAY), ("c", 1.0, START + 8 * DAY)]
    assert totals(experiment, Retention(rows_of(events), day=7)) == {"control": (3, 1.0)}


def test_unit_whose_window_is_not_over_is_left_out(experiment: Experiment) -> None:
    now = datetime.now(timezone.utc)
    expose(experiment, [("a", "control", now - 2 * DAY), ("b", "control", now - HOUR)])
    metric = Conversion(rows_of([("b", 1.0, now)]), window=DAY)
    assert totals(experiment, metric) == {"control": (1, 0.0)}


def test_unit_that_met_two_variants_is_left_out(experiment: Experiment) -> None:
    expose(experiment, [("a", "control", START), ("a", "treatment", START + HOUR)])
    expose(experiment, [("b", "treatment", START)])
    metric = Conversion(rows_of([("a", 1.0, START + 2 * HOUR)]), window=DAY)
    assert totals(experiment, metric) == {"treatment": (1, 0.0)}


def test_other_shuffle_is_left_out(experiment: Experiment) -> None:
    expose(experiment, [("a", "control", START)])
    experiment.shuffle = 1
    assert measure(experiment, Conversion(rows_of([]), window=DAY)) == []


def test_sums_equal_those_of_a_computation_by_user(experiment: Experiment) -> None:
    rng = random.Random(7)
    units = [f"u{number}" for number in range(200)]
    exposed = {
        unit: (rng.choice(["control", "treatment"]), START + rng.random() * 20 * DAY)
        for unit in units
    }
    expose(experiment, [(unit, arm, at) for unit, (arm, at) in exposed.items()])
    events = [
        (rng.choice(units), round(rng.uniform(1e6, 1e6 + 5), 3), START + rng.uniform(-5, 30) * DAY)
        for _ in range(1000)
    ]
    found = measure(experiment, Mean(rows_of(events), window=3 * DAY, covariate=5 * DAY))
    expected: dict[tuple[datetime, str], list[tuple[float, float]]] = defaultdict(list)
    for unit, (arm, at) in exposed.items():
        own = [(value, time) for one, value, time in events if one == unit]
        y = sum(value for value, time in own if at <= time < at + 3 * DAY)
        x = sum(value for value, time in own if at - 5 * DAY <= time < at)
        hour = (at + 3 * DAY).replace(minute=0, second=0, microsecond=0)
        expected[hour, arm].append((y, x))
    assert {(one.hour, one.variant) for one in found} == set(expected)
    for one in found:
        values = expected[one.hour, one.variant]
        assert one.sums.users == len(values)
        assert one.sums.of_y.mean == pytest.approx(
            sum(y for y, _ in values) / len(values), rel=1e-12
        )
        mean_y, mean_x = (sum(column) / len(values) for column in zip(*values, strict=True))
        products = sum((y - mean_y) * (x - mean_x) for y, x in values)
        assert float(one.sums.products) == pytest.approx(products, rel=1e-9, abs=1e-3)


def test_ratio_has_both_sums(experiment: Experiment) -> None:
    expose(experiment, [("a", "control", START), ("b", "control", START)])
    clicks = rows_of([("a", 3.0, START), ("b", 1.0, START)])
    views = rows_of([("a", 10.0, START), ("a", 5.0, START + HOUR), ("b", 5.0, START)])
    [one] = measure(experiment, Ratio(clicks, views, window=DAY))
    assert (one.sums.of_y.mean * 2, one.sums.of_x.mean * 2) == (4.0, 20.0)


def test_metric_by_user_follows_the_users_of_visitors(experiment: Experiment) -> None:
    experiment.bucket_by = "visitor"
    expose(experiment, [("v1", "control", START), ("v2", "control", START + HOUR)], user_pk="7")
    expose(experiment, [("v3", "treatment", START)])
    metric = Conversion(rows_of([("7", 1.0, START + 2 * HOUR)]), window=DAY)
    assert totals(experiment, metric) == {"control": (1, 1.0)}


def test_user_of_a_visitor_who_met_two_variants_is_left_out(experiment: Experiment) -> None:
    experiment.bucket_by = "visitor"
    expose(experiment, [("v1", "control", START)])
    expose(experiment, [("v1", "treatment", START), ("v2", "treatment", START)], user_pk="7")
    expose(experiment, [("v3", "treatment", START)], user_pk="8")
    assert totals(experiment, Conversion(rows_of([]), window=DAY)) == {"treatment": (1, 0.0)}


def test_metric_by_user_of_an_experiment_by_company_is_refused(experiment: Experiment) -> None:
    experiment.bucket_by = "company"
    with pytest.raises(ConfigurationError, match='use a metric with unit="company"'):
        measure(experiment, Conversion(rows_of([]), window=DAY))


def test_metric_of_another_unit_is_refused(experiment: Experiment) -> None:
    metric = Conversion(rows_of([]), window=DAY, unit="company")
    with pytest.raises(ConfigurationError, match=f"the unit of {KEY} is user"):
        measure(experiment, metric)


def test_source_may_be_a_query_set(experiment: Experiment) -> None:
    expose(experiment, [("a", "control", START)])
    rows = Exposure.objects.values("unit", time=F("at"), value=Value(2.0))
    assert totals(experiment, Mean(lambda: rows, window=DAY)) == {"control": (1, 2.0)}


def test_source_of_another_kind_is_refused(experiment: Experiment) -> None:
    with pytest.raises(ConfigurationError, match="the source of a metric returned list"):
        measure(experiment, Conversion(list, window=DAY))  # type: ignore[arg-type]


def test_constants_are_computed_once_without_statistics_of_the_table(
    experiment: Experiment,
) -> None:
    expose(experiment, [(str(unit), "control", START) for unit in range(20)])
    with CaptureQueriesContext(connection) as queries:
        measure(experiment, Conversion(rows_of([]), window=DAY))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {queries[-1]['sql']}")
        [[explained]] = cursor.fetchall()
    assert {loops for kind, loops in nodes(explained[0]["Plan"]) if kind == "Aggregate"} == {1}
