"""How many units have met each variant, and what a metric has shown, hour by hour.

One query in the database of the exposures gives the sums of a metric by hour and variant. Looks are
full hours, so a report shows the same from any page or command, and a p value that was shown never
goes up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from django.db import DataError, ProgrammingError
from django.utils import timezone

from flagstaff._tables.database import db, error_text, fill, optional_names, sql
from flagstaff._tables.rows import VISITOR
from flagstaff._text import Sentence, say
from flagstaff._workers.register import lost_workers
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Conversion, Mean, Metric, Ratio, Source
from flagstaff.experiments.models import Experiment, LostExposures
from flagstaff.experiments.report_data import ExposureReport
from flagstaff.experiments.sources import checked_unit, excluded_units, rows_of
from flagstaff.experiments.statistics.effects import (
    STOP_NEEDS,
    Conversions,
    Effect,
    Estimate,
    PairSums,
    adjust,
    difference,
    has_enough,
    has_enough_conversions,
    lift,
    mean,
    proportion,
    ratio,
)
from flagstaff.experiments.statistics.mismatch import Shares, sequential_p_value
from flagstaff.experiments.statistics.sequential import ALPHA, Plan, always_valid, lower_bound
from flagstaff.experiments.variants import shares_of

SOURCE = say("the source of a metric")
_IN_WINDOW = "m.at OPERATOR(pg_catalog.>=) (u.at OPERATOR(pg_catalog.+) given.first)"
_BEFORE = "m.at OPERATOR(pg_catalog.<) u.at"
_SUM = "coalesce(pg_catalog.sum({column}) FILTER (WHERE {condition}), 0)::float8"
_EXISTS = f"(pg_catalog.count(m.unit) FILTER (WHERE {_IN_WINDOW}) > 0)::integer::float8"
_NOTHING = "0::float8"
# Of TIME_ZONE, as `TruncDay` computes, and of the session, as `date_trunc` and casts do.
_AT_MIDNIGHT = (
    "(m.at OPERATOR(pg_catalog.=) pg_catalog.date_trunc('day', m.at) OR "
    "m.at OPERATOR(pg_catalog.=) pg_catalog.date_trunc('day', m.at::timestamptz, given.zone))"
)
# With fewer events there is no result, see `LEAST_CONVERSIONS`; by chance, 1 of 86,400 is there.
_LEAST_MIDNIGHTS = 10
_MANY_MIDNIGHTS = 0.05
# Of a user: a visitor who met two variants may have met one of them before the login.
_MET_ANOTHER = """EXISTS (
            SELECT FROM {exposure_table} AS o
            WHERE o.experiment_id OPERATOR(pg_catalog.=) e.experiment_id
                AND o.run OPERATOR(pg_catalog.=) e.run
                AND o.unit OPERATOR(pg_catalog.=) e.unit
                AND o.variant OPERATOR(pg_catalog.<>) e.variant
        )"""


@dataclass(frozen=True)
class HourSums:
    """The sums of the units of one variant whose windows have ended in one hour."""

    hour: datetime
    variant: str
    sums: PairSums


@dataclass(frozen=True)
class Measurement:
    """What the rows of a metric say of the units."""

    hours: list[HourSums]
    #: Why the figures may be wrong.
    warning: Sentence | None = None


def measure(
    experiment: Experiment,
    metric: Metric,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Measurement:
    """Returns the sums of a metric by hour and variant.

    Makes a query for the sums and one for the types of each source; and one more if no row is in a
    window. With `since`, only units that were exposed for the first time from then on count; with
    `until`, those whose windows were over by then. Raises ConfigurationError if the metric reads
    another database, if its unit is not that of the experiment, if a column has a wrong type, if
    all times are days, or if a value is no finite number.
    """
    names = optional_names(db.connection)
    unit = _unit_column(experiment, metric)
    text, params = rows_of_metric(metric)
    excluded, excluded_params = excluded_units(experiment.bucket_by, experiment.overrides)
    y, x = _values_of_unit(metric)
    placeholders = {
        **names,
        "metric": text,
        "unit": unit,
        "y": y,
        "x": x,
        "at_midnight": _AT_MIDNIGHT,
        "and_not_excluded": excluded,
        "met_another": fill(_MET_ANOTHER, names) if unit == "user_pk" else "false",
    }
    spans = [span.total_seconds() for span in (metric.begins, metric.ends, metric.looks_back)]
    run, zone = (experiment.pk, experiment.run), timezone.get_default_timezone_name()
    query, rows_query = (
        fill(sql(file, "flagstaff.experiments"), placeholders)
        for file in ("metric_sums_v1", "metric_rows_v1")
    )
    with db.connection.cursor() as cursor:
        cursor.execute(query, [*run, since, *spans, zone, until, *params, *excluded_params])
        sums = cursor.fetchall()
        counts = [sum(row[place] for row in sums) for place in range(-4, 0)]
        warning = None
        if sums and not any(counts):
            cursor.execute(rows_query, [*run, zone, *params])
            rows, belonging, *counts = cursor.fetchone()
            if rows and not belonging:
                warning = say("0 of {rows} rows belong to a unit", rows=rows)
    for rows, midnights in (counts[:2], counts[2:]):
        warning = _midnight_warning(rows, midnights) or warning
    return Measurement([_hour_sums(row[:-4]) for row in sums], warning)


def _midnight_warning(rows: int, midnights: int) -> Sentence | None:
    """Returns a warning for many rows of a source at midnight; if all are, ConfigurationError."""
    if midnights < _LEAST_MIDNIGHTS or midnights < _MANY_MIDNIGHTS * rows:
        return None
    if midnights < rows:
        text = say("{midnights} of {rows} rows are at midnight, as if their time were a day")
        return say(text, midnights=midnights, rows=rows)
    raise ConfigurationError(
        "all {rows} rows are at midnight, so events on the day of an exposure would be missing; "
        "use the moment of the event, or add a second if midnight is that moment",
        rows=rows,
    )


def require_unit(experiment: Experiment, metric: Metric) -> None:
    """Raises ConfigurationError if the metric counts other units than the experiment. No query."""
    _unit_column(experiment, metric)


def require_usable(metric: Metric) -> None:
    """Raises ConfigurationError if the sources cannot be read beside the exposures. No query."""
    _sources(metric)


def rows_of_metric(metric: Metric) -> tuple[str, list[Any]]:
    """Returns the query of the rows: unit, y, x, whether they are of the second source, and time.

    Makes a query for each source. Raises ConfigurationError if a column has a wrong type.
    """
    parts, all_params = [], list[Any]()
    for number, (text, params, columns, values) in enumerate(_sources(metric)):
        unit = checked_unit(text, params, columns, SOURCE)
        # In brackets, because a UNION may follow.
        parts.append(f"(SELECT {unit}, {values}, {number > 0}, time FROM {text})")  # noqa: S608
        all_params += params
    return " UNION ALL ".join(parts), all_params


def _hour_sums(row: Sequence[Any]) -> HourSums:
    hour, variant, units, y, yy, x, xx, xy, y_shift, x_shift = row
    if not all(math.isfinite(number) for number in (y, yy, x, xx, xy, y_shift, x_shift)):
        raise ConfigurationError("a value is NaN or infinite; leave such rows out of the source")
    return HourSums(hour, variant, PairSums(units, y, yy, x, xx, xy, y_shift, x_shift))


def _unit_column(experiment: Experiment, metric: Metric) -> str:
    """Returns the column of the exposures that the metric's unit is compared with."""
    if metric.unit == experiment.bucket_by:
        return "unit"
    # A visitor is one user; another unit, such as a company, has many.
    if metric.unit == "user" and experiment.bucket_by == "visitor":
        return "user_pk"
    raise ConfigurationError(
        "the metric counts by {unit}, but the unit of {key} is {bucket_by}; use a metric with "
        'unit="{bucket_by}"',
        unit=metric.unit,
        key=experiment.key,
        bucket_by=experiment.bucket_by,
    )


def _values_of_unit(metric: Metric) -> tuple[str, str]:
    """Returns the SQL of the two values of a unit."""
    y = _SUM.format(column="m.y", condition=_IN_WINDOW)
    if isinstance(metric, Conversion):
        return _EXISTS, _NOTHING
    if isinstance(metric, Ratio):
        return y, _SUM.format(column="m.x", condition=_IN_WINDOW)
    if isinstance(metric, Mean) and metric.covariate:
        return y, _SUM.format(column="m.y", condition=_BEFORE)
    return y, _NOTHING


#: A subquery with its parameters and columns, and the SQL of y and x.
_Source: TypeAlias = tuple[str, "list[Any]", tuple[str, ...], str]


def _sources(metric: Metric) -> list[_Source]:
    """Returns the sources of a metric. Does not query. Raises ConfigurationError."""
    if isinstance(metric, Ratio):
        above = _source(metric.numerator, "value::float8, 0::float8")
        return [above, _source(metric.denominator, "0::float8, value::float8")]
    if isinstance(metric, Mean):
        return [_source(metric.source, "value::float8, 0::float8")]
    if isinstance(metric, Conversion):
        return [_source(metric.source, "1::float8, 0::float8", ("unit", "time"))]
    raise ConfigurationError("{type} is not a known kind of metric", type=type(metric).__name__)


def _source(
    source: Source, values: str, columns: tuple[str, ...] = ("unit", "value", "time")
) -> _Source:
    return (*rows_of(source, columns, SOURCE), columns, values)


# The units.


def count(experiment: Experiment) -> ExposureReport:
    """Returns the exposures of an experiment. Makes a few queries. Raises ConfigurationError."""
    shares = shares_of(experiment.variants)
    zero = dict.fromkeys(shares, 0)
    units, returned, present = Counter(zero), Counter(zero), Counter(zero)
    met_two, smallest = 0, 1.0
    by_hour = groupby(_units_by_hour(experiment), key=itemgetter(0))
    for _hour, rows in by_hour:
        for _at, variant, is_over, number, came_back in rows:
            if variant is None:
                met_two += number
            elif is_over:
                units[variant] += number
                returned[variant] += came_back
            else:
                present[variant] += number
        smallest = min(smallest, _mismatch(units, shares))
    lost = db.rows(LostExposures).filter(experiment_id=experiment.pk).first()
    return {
        "units": {**units},
        "present_hour": {**present},
        "met_two_variants": met_two,
        "lost": lost.count if lost else 0,
        "left_out": lost.left_out if lost else 0,
        "returned": {**returned} if experiment.bucket_by == VISITOR else None,
        "workers_without_last_report": len(lost_workers("exposures", since=experiment.started_at)),
        "mismatch_p_value": smallest,
    }


def _mismatch(seen: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Returns the p value of a look. With one variant there is nothing to compare."""
    planned = {variant: share for variant, share in shares.items() if share}
    if len(planned) < 2:  # noqa: PLR2004
        return 1.0
    units = [seen[variant] for variant in planned]
    return sequential_p_value(Shares(units, [*planned.values()]))


def _units_by_hour(experiment: Experiment) -> list[tuple[datetime, str | None, bool, int, int]]:
    """Returns the units by hour and variant, in the order of time."""
    excluded, params = excluded_units(experiment.bucket_by, experiment.overrides)
    query = fill(
        sql("exposures_v1", "flagstaff.experiments"),
        {**optional_names(db.connection), "and_not_excluded": excluded},
    )
    with db.connection.cursor() as cursor:
        try:
            cursor.execute(query, [experiment.pk, experiment.run, *params])
        except (DataError, ProgrammingError) as error:
            if not conf.excluded_units:
                raise
            message = say("a query of EXCLUDED_UNITS fails: {error}", error=error_text(error))
            raise ConfigurationError(message) from error
        rows: list[tuple[datetime, str | None, bool, int, int]] = cursor.fetchall()
        return rows


# From the sums to looks.

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Look:
    """A treatment against the control at the end of an hour."""

    #: The end of the hour.
    at: datetime
    #: Of control and treatment.
    sums: tuple[PairSums, PairSums]
    control: Estimate
    treatment: Estimate
    difference: Effect
    #: None where a ratio to the control has no meaning.
    lift: Effect | None
    p_value: float
    #: How much worse the treatment is.
    harm: Effect
    #: Whether both have enough for a stop of one of several guardrails, see STOP_NEEDS.
    can_stop: bool
    #: With a covariate: so much of x is subtracted, and the share of the variance that is gone.
    theta: float | None = None
    variance_reduction: float | None = None


@dataclass(frozen=True)
class Result:
    """All looks at a metric for one treatment, the newest one last."""

    treatment: str
    looks: Sequence[Look] = ()

    @property
    def newest(self) -> Look | None:
        """None without a unit whose window is over."""
        return self.looks[-1] if self.looks else None

    @property
    def decisive(self) -> Look | None:
        """The look with the smallest p value, whose sign decides."""
        return min(self.looks, key=attrgetter("p_value"), default=None)

    @property
    def p_value(self) -> float:
        """The smallest p value of all looks, so that one that was reported never goes up."""
        return self.decisive.p_value if self.decisive else 1.0

    def harm_bound(self, plan: Plan, alpha: float = ALPHA) -> float:
        """Returns how much worse the treatment is at least, by all looks.

        The largest bound of all: a harm that was certain once remains so. Below 5 %, only looks
        that `can_stop` count.
        """
        looks = [look for look in self.looks if look.can_stop or alpha >= ALPHA]
        bounds = (lower_bound(look.harm, plan, alpha) for look in looks)
        return max(bounds, default=-math.inf)


def plan_of(experiment: Experiment) -> Plan:
    """Returns the plan of the results of two of the variants."""
    return Plan(max(2 * experiment.planned_units // len(experiment.variants), 1))


def results_of(
    metric: Metric, hours: Iterable[HourSums], variants: Sequence[str], plan: Plan
) -> list[Result]:
    """Returns the results of a metric for each treatment. The first variant is the control."""
    control, *treatments = variants
    by_treatment: dict[str, list[Look]] = {treatment: [] for treatment in treatments}
    for hour, sums in _cumulated(hours):
        for treatment in treatments:
            arms = [sums[arm] for arm in (control, treatment) if arm in sums]
            look = _look(hour + _HOUR, metric, arms, plan)
            if look is not None:
                by_treatment[treatment].append(look)
    return [Result(treatment, looks) for treatment, looks in by_treatment.items()]


def units_of(hours: Iterable[HourSums]) -> int:
    """Returns the number of units whose window is over."""
    return sum(hour.sums.units for hour in hours)


def values_of(metric: Metric, hours: Iterable[HourSums]) -> dict[str, tuple[int, float | None]]:
    """Returns the units and the value of each variant, without a comparison.

    The value of a ratio is None where it has no meaning.
    """
    sums: dict[str, PairSums] = {}
    for _hour, sums in _cumulated(hours):  # noqa: B007 (the last ones have all units)
        pass
    return {variant: (arm.units, _value(metric, arm)) for variant, arm in sums.items()}


def _value(metric: Metric, arm: PairSums) -> float | None:
    if not isinstance(metric, Ratio):
        return arm.of_y.mean
    below = arm.of_x.exact_mean
    return float(arm.of_y.exact_mean / below) if below > 0 else None


def _cumulated(hours: Iterable[HourSums]) -> Iterator[tuple[datetime, dict[str, PairSums]]]:
    """Yields each hour with the sums of each variant until its end."""
    sums: dict[str, PairSums] = {}
    by_hour = groupby(sorted(hours, key=attrgetter("hour")), key=attrgetter("hour"))
    for hour, group in by_hour:
        for hour_sums in group:
            arm = hour_sums.variant
            sums[arm] = sums[arm] + hour_sums.sums if arm in sums else hour_sums.sums
        yield hour, sums


def _look(at: datetime, metric: Metric, arms: Sequence[PairSums], plan: Plan) -> Look | None:
    """Returns a look at both arms; None where one of them has no estimate yet."""
    usable_arms = [arm for arm in arms if arm.units > 1]
    is_ratio = isinstance(metric, Ratio)
    if len(usable_arms) < 2 or (is_ratio and any(arm.of_x.exact_mean <= 0 for arm in usable_arms)):  # noqa: PLR2004
        return None
    theta = variance_reduction = None
    if isinstance(metric, Mean) and metric.covariate:
        adjusted = adjust(usable_arms)
        control, treatment = adjusted.arms
        theta, variance_reduction = adjusted.theta, adjusted.variance_reduction
    else:
        control, treatment = map(_estimator(metric), usable_arms)
    effect = difference(control, treatment)
    return Look(
        at=at,
        sums=(usable_arms[0], usable_arms[1]),
        control=control,
        treatment=treatment,
        difference=effect,
        lift=lift(control, treatment),
        p_value=always_valid(effect, plan).p_value,
        harm=-effect if metric.higher_is_better else effect,
        can_stop=all(_can_stop(metric, arm) for arm in usable_arms),
        theta=theta,
        variance_reduction=variance_reduction,
    )


def _estimator(metric: Metric) -> Callable[[PairSums], Estimate]:
    if metric.is_proportion:
        return lambda arm: proportion(_conversions(arm))
    if isinstance(metric, Ratio):
        return ratio
    return lambda arm: mean(arm.of_y)


def _can_stop(metric: Metric, arm: PairSums) -> bool:
    if metric.is_proportion:
        return has_enough_conversions(_conversions(arm), STOP_NEEDS)
    return has_enough(arm.of_y, STOP_NEEDS)


def _conversions(arm: PairSums) -> Conversions:
    """Returns the sums of a proportion as counts."""
    return Conversions(arm.units, math.floor(arm.of_y.mean * arm.units + 0.5))
