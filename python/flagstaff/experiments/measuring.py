"""The sums of a metric by hour and variant: one query, in the database of the exposures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections

from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Conversion, Mean, Metric, Ratio, Source
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.sources import excluded_units, rows_of
from flagstaff.experiments.statistics import PairSums

_IN_WINDOW = "m.at OPERATOR(pg_catalog.>=) (u.at OPERATOR(pg_catalog.+) given.first)"
_BEFORE = "m.at OPERATOR(pg_catalog.<) u.at"
_SUM = "coalesce(pg_catalog.sum({column}) FILTER (WHERE {condition}), 0)::float8"
_EXISTS = f"(pg_catalog.count(m.unit) FILTER (WHERE {_IN_WINDOW}) > 0)::integer::float8"
_NOTHING = "0::float8"
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


def measure(
    experiment: Experiment, metric: Metric, since: datetime | None = None
) -> list[HourSums]:
    """Returns the sums of a metric by hour and variant. Makes one query.

    With `since`, only units that were exposed for the first time from then on count. Raises
    ConfigurationError if the metric reads another database, if its unit is not that of the
    experiment, or if a value is no finite number.
    """
    names = optional_names(connections[conf.database])
    unit = _unit_column(experiment, metric)
    text, params = _rows(metric)
    excluded, excluded_params = excluded_units(experiment.bucket_by, experiment.overrides)
    y, x = _values(metric)
    placeholders = {
        **names,
        "metric": text,
        "unit": unit,
        "y": y,
        "x": x,
        "and_not_excluded": excluded,
        "met_another": fill(_MET_ANOTHER, names) if unit == "user_pk" else "false",
    }
    seconds = [span.total_seconds() for span in (metric.begins, metric.ends, metric.looks_back)]
    query = fill(sql("metric_sums_v1", "flagstaff.experiments"), placeholders)
    with connections[conf.database].cursor() as cursor:
        cursor.execute(
            query,
            [experiment.pk, experiment.run, since, *seconds, *params, *excluded_params],
        )
        return [_hour_sums(row) for row in cursor.fetchall()]


def require_unit(experiment: Experiment, metric: Metric) -> None:
    """Raises ConfigurationError if the metric counts other units than the experiment. No query."""
    _unit_column(experiment, metric)


def require_usable(metric: Metric) -> None:
    """Raises ConfigurationError if the sources cannot be read beside the exposures. No query."""
    _rows(metric)


def _hour_sums(row: Sequence[Any]) -> HourSums:
    hour, variant, units, y, yy, x, xx, xy, y_shift, x_shift, contributors = row
    if not all(math.isfinite(one) for one in (y, yy, x, xx, xy, y_shift, x_shift)):
        raise ConfigurationError("a value is NaN or infinite; leave such rows out of the source")
    sums = PairSums(
        units, y, yy, x, xx, xy, y_shift=y_shift, x_shift=x_shift, contributors=contributors
    )
    return HourSums(hour, variant, sums)


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


def _values(metric: Metric) -> tuple[str, str]:
    """Returns the SQL of the two values of a unit."""
    y = _SUM.format(column="m.y", condition=_IN_WINDOW)
    if isinstance(metric, Conversion):
        return _EXISTS, _NOTHING
    if isinstance(metric, Ratio):
        return y, _SUM.format(column="m.x", condition=_IN_WINDOW)
    if isinstance(metric, Mean) and metric.covariate:
        return y, _SUM.format(column="m.y", condition=_BEFORE)
    return y, _NOTHING


def _rows(metric: Metric) -> tuple[str, list[Any]]:
    """Returns the query of the metric's rows, as unit, y, x and time."""
    if isinstance(metric, Ratio):
        above, above_params = _source(metric.numerator, "value::float8, 0::float8")
        below, below_params = _source(metric.denominator, "0::float8, value::float8")
        return f"{above} UNION ALL {below}", [*above_params, *below_params]
    if isinstance(metric, Mean):
        return _source(metric.source, "value::float8, 0::float8")
    if isinstance(metric, Conversion):
        return _source(metric.source, "1::float8, 0::float8", has_value=False)
    raise ConfigurationError("{type} is not a known kind of metric", type=type(metric).__name__)


def _source(source: Source, values: str, *, has_value: bool = True) -> tuple[str, list[Any]]:
    columns = ("unit", "value", "time") if has_value else ("unit", "time")
    text, params = rows_of(source, columns, Text("the source of a metric"))
    # In brackets, because a UNION may follow.
    return f"(SELECT unit::text, {values}, time FROM {text})", params  # noqa: S608
