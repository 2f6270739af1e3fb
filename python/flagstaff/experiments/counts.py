"""How many units have met each variant, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from django.db import DataError, ProgrammingError, connections

from flagstaff._engine.reports import lost_workers
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._tables.sqlstate import error_text
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.models import Experiment, LostExposures
from flagstaff.experiments.report_data import DayUnits, ExposureReport
from flagstaff.experiments.sources import excluded_units
from flagstaff.experiments.statistics import Shares, sequential_p_value
from flagstaff.experiments.variants import shares_of


@dataclass
class _Hour:
    at: datetime
    is_over: bool
    units: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)


def count(experiment: Experiment) -> ExposureReport:
    """Returns the exposures of an experiment. Makes a few queries. Raises ConfigurationError."""
    hours, met_two = _hours(experiment)
    shares = shares_of(experiment.variants)
    full = [hour for hour in hours if hour.is_over]
    present = [hour for hour in hours if not hour.is_over]
    lost = LostExposures.objects.using(conf.database).filter(experiment_id=experiment.pk).first()
    is_by_visitor = experiment.bucket_by == VISITOR
    return {
        "units": _total((hour.units for hour in full), shares),
        "present_hour": _total((hour.units for hour in present), shares),
        "met_two_variants": met_two,
        "lost": lost.count if lost else 0,
        "left_out": lost.left_out if lost else 0,
        "returned": _total((hour.returned for hour in full), shares) if is_by_visitor else None,
        "workers_without_last_report": len(lost_workers("exposures", since=experiment.started_at)),
        "mismatch_p_value": _mismatch([hour.units for hour in full], shares),
        "days": _days(full, shares),
    }


def _total(counts: Iterable[Counter[str]], variants: Iterable[str]) -> dict[str, int]:
    total = sum(counts, Counter())
    return {variant: total[variant] for variant in variants}


def _days(hours: Iterable[_Hour], variants: Iterable[str]) -> list[DayUnits]:
    days: dict[str, list[Counter[str]]] = {}
    for hour in hours:
        days.setdefault(hour.at.date().isoformat(), []).append(hour.units)
    return [{"day": day, "units": _total(counts, variants)} for day, counts in days.items()]


def _mismatch(hours: Sequence[Counter[str]], shares: dict[str, float]) -> float:
    """Returns the smallest p value of the looks at the end of each hour."""
    planned = {variant: share for variant, share in shares.items() if share}
    seen: Counter[str] = Counter()
    smallest = 1.0
    # With one variant there is nothing to compare.
    for hour in hours if len(planned) > 1 else ():
        seen.update(hour)
        units = [seen[variant] for variant in planned]
        smallest = min(smallest, sequential_p_value(Shares(units, list(planned.values()))))
    return smallest


def _hours(experiment: Experiment) -> tuple[list[_Hour], int]:
    """Returns the units by hour, and how many met two variants."""
    connection = connections[conf.database]
    excluded, params = excluded_units(experiment.bucket_by, experiment.overrides)
    query = fill(
        sql("exposures_v1", "flagstaff.experiments"),
        {**optional_names(connection), "and_not_excluded": excluded},
    )
    hours: dict[datetime, _Hour] = {}
    met_two = 0
    with connection.cursor() as cursor:
        try:
            cursor.execute(query, [experiment.pk, experiment.run, *params])
        except (DataError, ProgrammingError) as error:
            if not conf.excluded_units:
                raise
            message = Text("a query of EXCLUDED_UNITS fails: {error}", error=error_text(error))
            raise ConfigurationError(message) from error
        for at, variant, is_over, number, returned in cursor.fetchall():
            if variant is None:
                met_two += number
            else:
                hour = hours.setdefault(at, _Hour(at.astimezone(timezone.utc), is_over))
                hour.units[variant] = number
                hour.returned[variant] = returned
    return [hours[at] for at in sorted(hours)], met_two
