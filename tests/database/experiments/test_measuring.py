"""The sums of metrics equal those of a computation by unit; and the sources that are read."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import DateTimeField, F, FloatField, Func, QuerySet, Value
from django.db.models.functions import Cast, TruncDate, TruncDay
from django.test.utils import CaptureQueriesContext

from flagstaff import experiments
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import Conversion, Mean, Metric, Ratio, Sql
from flagstaff.experiments.models import Experiment, Exposure
from flagstaff.experiments.sources import excluded_units, rows_of
from tests.support.experiments import DAY, KEY, record_exposures
from tests.support.sql import rows

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 5, 10, 30, tzinfo=timezone.utc)
#: Unit, value, time.
Event = tuple[str, float, datetime]


@pytest.fixture
def experiment() -> Experiment:
    return experiments.create(KEY)


def source_of(events: list[Event]) -> Callable[[], Sql]:
    row = "(%s::text, %s::float8, %s::timestamptz)"
    values = ", ".join([row] * len(events)) or "('', 0::float8, now())"
    params = tuple(part for event in events for part in event)
    text = f"SELECT * FROM (VALUES {values}) AS events (unit, value, time)"
    return lambda: Sql(text, params)


def totals(experiment: Experiment, metric: Metric) -> dict[str, tuple[int, float]]:
    """The units and the sum of their values by variant."""
    sums_by_variant: dict[str, tuple[int, float]] = {}
    for hour in measure(experiment, metric).hours:
        units, total = sums_by_variant.get(hour.variant, (0, 0.0))
        sums = hour.sums
        sums_by_variant[hour.variant] = units + sums.units, total + sums.of_y.mean * sums.units
    return {arm: (units, round(total, 6)) for arm, (units, total) in sums_by_variant.items()}


def test_conversion_counts_units_with_an_event_in_the_window(experiment: Experiment) -> None:
    record_exposures(experiment, [(unit, "control", START) for unit in "abcd"])
    events = [
        ("a", 1.0, START),
        ("a", 1.0, START + HOUR),
        ("b", 1.0, START + DAY),
        ("c", 1.0, START - HOUR),
        ("other", 1.0, START),
    ]
    metric = Conversion(source_of(events), window=DAY)
    assert totals(experiment, metric) == {"control": (4, 1.0)}
    # With `after`, those who come back on that day.
    events = [("a", 1.0, START + HOUR), ("b", 1.0, START + 7 * DAY), ("c", 1.0, START + 8 * DAY)]
    assert totals(experiment, Conversion(source_of(events), after=7 * DAY, window=DAY)) == {
        "control": (4, 1.0)
    }


def test_unit_of_an_open_window_or_another_run_is_left_out(experiment: Experiment) -> None:
    now = datetime.now(timezone.utc)
    record_exposures(experiment, [("a", "control", now - 2 * DAY), ("b", "control", now - HOUR)])
    metric = Conversion(source_of([("b", 1.0, now)]), window=DAY)
    assert totals(experiment, metric) == {"control": (1, 0.0)}
    experiment.run = 1
    assert measure(experiment, metric).hours == []


def test_unit_that_met_two_variants_is_left_out(experiment: Experiment) -> None:
    record_exposures(experiment, [("a", "control", START), ("a", "treatment", START + HOUR)])
    record_exposures(experiment, [("b", "treatment", START)])
    metric = Conversion(source_of([("a", 1.0, START + 2 * HOUR)]), window=DAY)
    assert totals(experiment, metric) == {"treatment": (1, 0.0)}


def test_sums_equal_those_of_a_computation_by_user(experiment: Experiment) -> None:
    rng = random.Random(7)
    units = [f"u{number}" for number in range(200)]
    exposed = {
        unit: (rng.choice(["control", "treatment"]), START + rng.random() * 20 * DAY)
        for unit in units
    }
    record_exposures(experiment, [(unit, arm, at) for unit, (arm, at) in exposed.items()])
    events = [
        (rng.choice(units), round(rng.uniform(1e6, 1e6 + 5), 3), START + rng.uniform(-5, 30) * DAY)
        for _ in range(1000)
    ]
    metric = Mean(source_of(events), window=3 * DAY, covariate=5 * DAY)
    hours = measure(experiment, metric).hours
    expected: dict[tuple[datetime, str], list[tuple[float, float]]] = defaultdict(list)
    for unit, (arm, at) in exposed.items():
        own = [(value, time) for event_unit, value, time in events if event_unit == unit]
        y = sum(value for value, time in own if at <= time < at + 3 * DAY)
        x = sum(value for value, time in own if at - 5 * DAY <= time < at)
        hour = (at + 3 * DAY).replace(minute=0, second=0, microsecond=0)
        expected[hour, arm].append((y, x))
    assert {(hour.hour, hour.variant) for hour in hours} == set(expected)
    for of_hour in hours:
        values = expected[of_hour.hour, of_hour.variant]
        assert of_hour.sums.units == len(values)
        assert of_hour.sums.of_y.mean == pytest.approx(
            sum(y for y, _ in values) / len(values), rel=1e-12
        )
        mean_y, mean_x = (sum(column) / len(values) for column in zip(*values, strict=True))
        products = sum((y - mean_y) * (x - mean_x) for y, x in values)
        assert float(of_hour.sums.products) == pytest.approx(products, rel=1e-9, abs=1e-3)


def test_ratio_has_both_sums(experiment: Experiment) -> None:
    record_exposures(experiment, [("a", "control", START), ("b", "control", START)])
    clicks = source_of([("a", 3.0, START), ("b", 1.0, START)])
    views = source_of([("a", 10.0, START), ("a", 5.0, START + HOUR), ("b", 5.0, START)])
    [hour] = measure(experiment, Ratio(clicks, views, window=DAY)).hours
    assert (hour.sums.of_y.mean * 2, hour.sums.of_x.mean * 2) == (4.0, 20.0)


def test_metric_by_user_follows_the_users_of_visitors(experiment: Experiment) -> None:
    experiment.bucket_by = "visitor"
    record_exposures(
        experiment, [("v1", "control", START), ("v2", "control", START + HOUR)], user_pk="7"
    )
    record_exposures(experiment, [("v3", "treatment", START)])
    metric = Conversion(source_of([("7", 1.0, START + 2 * HOUR)]), window=DAY)
    assert totals(experiment, metric) == {"control": (1, 1.0)}


def test_user_of_a_visitor_who_met_two_variants_is_left_out(experiment: Experiment) -> None:
    experiment.bucket_by = "visitor"
    record_exposures(experiment, [("v1", "control", START)])
    record_exposures(
        experiment, [("v1", "treatment", START), ("v2", "treatment", START)], user_pk="7"
    )
    record_exposures(experiment, [("v3", "treatment", START)], user_pk="8")
    assert totals(experiment, Conversion(source_of([]), window=DAY)) == {"treatment": (1, 0.0)}


@pytest.mark.parametrize("unit", ["7", "7.00::numeric", "7::float8", "7e0::real", "'7'::text"])
def test_equal_numbers_are_one_unit(unit: str, experiment: Experiment, settings: Any) -> None:
    record_exposures(experiment, [("7", "control", START), ("1000000000000000", "control", START)])
    row = f"SELECT {unit} AS unit, %s::timestamptz AS time"
    metric = Conversion(lambda: Sql(row, (START,)), window=DAY)
    assert totals(experiment, metric) == {"control": (2, 1.0)}
    large = Conversion(lambda: Sql(row.replace(unit, "1e15::float8"), (START,)), window=DAY)
    assert totals(experiment, large) == {"control": (2, 1.0)}
    EXCLUDED["sevens"] = f"SELECT {unit} AS unit"
    excluded = {"EXCLUDED_UNITS": {"user": f"{__name__}.sevens"}}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, **excluded}
    assert totals(experiment, metric) == {"control": (1, 0.0)}


def test_metric_of_another_unit_is_refused(experiment: Experiment) -> None:
    metric = Conversion(source_of([]), window=DAY, unit="company")
    with pytest.raises(ConfigurationError, match=f"the unit of {KEY} is user"):
        measure(experiment, metric)
    experiment.bucket_by = "company"
    with pytest.raises(ConfigurationError, match='use a metric with unit="company"'):
        measure(experiment, Conversion(source_of([]), window=DAY))


def test_source_is_sql_or_a_query_set(experiment: Experiment) -> None:
    record_exposures(experiment, [("a", "control", START)])
    rows = Exposure.objects.values("unit", time=F("at"), value=Value(2.0))
    assert totals(experiment, Mean(lambda: rows, window=DAY)) == {"control": (1, 2.0)}
    with pytest.raises(ConfigurationError, match="the source of a metric returned list"):
        measure(experiment, Conversion(list, window=DAY))  # type: ignore[arg-type]


def test_constants_are_computed_once_without_statistics(experiment: Experiment) -> None:
    record_exposures(experiment, [(str(unit), "control", START) for unit in range(20)])
    with CaptureQueriesContext(connection) as queries:
        measure(experiment, Conversion(source_of([]), window=DAY))
    [query] = [query["sql"] for query in queries if "MATERIALIZED" in query["sql"]]
    [[explained]] = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
    nodes, loops = [explained[0]["Plan"]], set()
    for node in nodes:
        nodes += node.get("Plans", ())
        if node["Node Type"] == "Aggregate":
            loops.add(node["Actual Loops"])
    assert loops == {1}


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
    return sorted(rows(f"SELECT unit::text, value::float8 FROM {text}", *params))


def raising() -> QuerySet[Any]:
    raise KeyError("shop")


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
    keys = [str(user.pk) for user in users]
    assert read(source) == sorted((key, value) for key in keys for value in (1.5, 2.5))


def test_slice_and_first_row_of_each_keep_their_order(users: list[User]) -> None:
    rows = User.objects.order_by("username").values(**COLUMNS)[:1]
    assert read(lambda: rows) == [(str(users[1].pk), 1.5)]
    newest = User.objects.order_by("last_name", "-date_joined").distinct("last_name")
    assert read(lambda: newest.values(**COLUMNS)) == [(str(users[2].pk), 1.5)]


@pytest.mark.parametrize("end", [";", " ; \n", " -- all of them"])
def test_sql_may_end_with_a_semicolon_or_a_comment(end: str) -> None:
    assert read(lambda: Sql(f"SELECT 7 AS unit, 1 AS value, now() AS time{end}")) == [("7", 1.0)]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (lambda: Sql("SELECT 1 WHERE path LIKE '/cart/%'"), "write %% for a percent sign"),
        (lambda: Sql("SELECT 1 WHERE path LIKE %s"), r"1 placeholders, but 0 params"),
        (raising, "the source fails: KeyError: 'shop'"),
    ],
)
def test_source_that_cannot_be_read_is_refused(source: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read(source)


@pytest.mark.parametrize(
    ("value", "time", "problem"),
    [
        ("1", "now()::date", "the time of the source of a metric is a date, so events on the day"),
        ("1", "1767225600", r"the time of .* is a number; .* write to_timestamp"),
        ("1", "'2026-01-05'::text", "of the type text, which is no moment; cast it to timestamptz"),
        ("5::money", "now()", "of the type money, which is no number; cast it to numeric"),
        ("true", "now()", "the value of .* is true or false; cast it to integer"),
        ("'5'::text", "now()", "of the type text, which is no number"),
    ],
)
def test_column_of_another_type_is_refused(
    value: str, time: str, problem: str, experiment: Experiment
) -> None:
    source = Sql(f"SELECT 7 AS unit, {value} AS value, {time} AS time")
    with pytest.raises(ConfigurationError, match=problem):
        measure(experiment, Mean(lambda: source, window=DAY))


def days_of(events: list[Event], day: Any) -> QuerySet[Any]:
    """Users who have joined at the time of an event, with the day as a source would have it."""
    User.objects.bulk_create(
        User(username=str(number), last_name=unit, date_joined=time)
        for number, (unit, _value, time) in enumerate(events)
    )
    return User.objects.values(unit=F("last_name"), time=day)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", TruncDay("date_joined")),
        ("Asia/Kolkata", TruncDay("date_joined")),
        (
            "UTC",
            Func(
                Value("day"), F("date_joined"), function="date_trunc", output_field=DateTimeField()
            ),
        ),
        ("UTC", Cast(TruncDate("date_joined"), DateTimeField())),
    ],
)
@pytest.mark.parametrize("hours_after", [1, 30])
def test_source_whose_times_are_days_is_refused(
    experiment: Experiment, zone: str, day: Any, hours_after: int, settings: Any
) -> None:
    settings.TIME_ZONE = zone
    units = [f"u{number}" for number in range(10)]
    record_exposures(experiment, [(unit, "control", START) for unit in units])
    days = days_of([(unit, 1.0, START + hours_after * HOUR) for unit in units], day)
    with pytest.raises(ConfigurationError, match="all 10 rows are at midnight"):
        measure(experiment, Conversion(lambda: days, window=7 * DAY))


@pytest.mark.parametrize("is_turned", [False, True])
def test_one_source_of_a_ratio_whose_times_are_days_is_refused(
    experiment: Experiment, is_turned: bool
) -> None:
    units = [f"u{number}" for number in range(10)]
    record_exposures(experiment, [(unit, "control", START) for unit in units])
    midnight = START.replace(hour=0, minute=0) + DAY
    days, moments = (
        source_of([(unit, 1.0, at) for unit in units]) for at in (midnight, START + HOUR)
    )
    sources = (moments, days) if is_turned else (days, moments)
    with pytest.raises(ConfigurationError, match="all 10 rows are at midnight"):
        measure(experiment, Ratio(*sources, window=7 * DAY))


def test_many_rows_at_midnight_are_a_warning(experiment: Experiment) -> None:
    units = [f"u{number}" for number in range(100)]
    record_exposures(experiment, [(unit, "control", START) for unit in units])
    midnight = START.replace(hour=0, minute=0) + DAY

    def warning(at_midnight: int) -> str | None:
        times = [midnight if n < at_midnight else START + HOUR for n in range(100)]
        events = [(unit, 1.0, time) for unit, time in zip(units, times, strict=True)]
        return measure(experiment, Conversion(source_of(events), window=7 * DAY)).warning

    assert warning(9) is None
    assert warning(10) == "10 of 100 rows are at midnight, as if their time were a day"


def test_rows_of_other_ids_are_counted(experiment: Experiment) -> None:
    record_exposures(experiment, [("7", "control", START)])
    before = ("7", 1.0, START - 2 * DAY)
    others = [("customer 7", 1.0, START + HOUR), ("customer 8", 1.0, START + HOUR)]
    metric = Conversion(source_of([before, *others]), window=DAY)
    assert measure(experiment, metric).warning == "0 of 2 rows belong to a unit"
    # Outside of the window, but by a unit.
    metric = Conversion(source_of([*others, ("7", 1.0, START + 2 * DAY)]), window=DAY)
    assert measure(experiment, metric).warning is None


def test_time_before_the_exposure_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not begin before the exposure"):
        Conversion(raising, window=DAY, after=-DAY)
    with pytest.raises(ConfigurationError, match="must not be negative"):
        Mean(raising, window=DAY, covariate=-DAY)


def test_value_that_is_no_finite_number_is_refused(experiment: Experiment) -> None:
    at = datetime.now(timezone.utc) - 2 * DAY - 2 * HOUR
    record_exposures(experiment, [("7", "control", at)])
    with pytest.raises(ConfigurationError, match="a value is NaN or infinite"):
        measure(experiment, Mean(infinite.source, window=2 * DAY))


EXCLUDED: dict[str, str] = {}


def sevens() -> Sql:
    return Sql(EXCLUDED["sevens"])


def nobody() -> QuerySet[Any, Any]:
    return User.objects.filter(pk__in=[]).values(unit=F("pk"))


def test_empty_query_of_excluded_units_excludes_nobody(settings: Any) -> None:
    path = f"{__name__}.nobody"
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": path}}
    assert excluded_units("user") == ("", [])
