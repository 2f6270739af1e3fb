"""How many units have met each variant, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

from django.db import DataError, ProgrammingError, connections

from flagstaff._engine.reports import lost_workers
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._tables.sqlstate import error_text
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.allocation import shares as shares_of
from flagstaff.experiments.models import Experiment, LostExposures
from flagstaff.experiments.reassigned_buckets import (
    BucketRanges,
    ReassignedBuckets,
    reassigned_buckets,
    reassigned_sql,
    shares_that_stay,
)
from flagstaff.experiments.report_data import DayUnits, ExposureReport, HourColumns
from flagstaff.experiments.sources import excluded_units
from flagstaff.experiments.statistics import Shares, chi_square, running_minimum, sequential_p_value

_HOUR = timedelta(hours=1)


@dataclass
class _Hour:
    at: datetime
    is_over: bool
    units: dict[tuple[int, str], int] = field(default_factory=dict)
    returned: Counter[str] = field(default_factory=Counter)

    def by_variant(self, variants: Sequence[str]) -> Counter[str]:
        found = Counter(dict.fromkeys(variants, 0))
        for (_, variant), number in self.units.items():
            found[variant] += number
        return found


def count(experiment: Experiment, reassigned: ReassignedBuckets | None = None) -> ExposureReport:
    """Returns the exposures of an experiment. Makes a few queries. Raises ConfigurationError.

    `reassigned` are those of the experiment, if the caller has them.
    """
    phases, moved = reassigned or reassigned_buckets(experiment)
    hours, left_out = _hours(experiment, moved)
    variants = [variant["key"] for variant in experiment.variants]
    shares = {phase.number: shares_that_stay(phase, moved[phase.number]) for phase in phases}
    full = [hour for hour in hours if hour.is_over]
    sequential, last = _mismatch(full, shares, variants)
    lost = LostExposures.objects.using(conf.database).filter(experiment_id=experiment.pk).first()
    units, expected = _total(full, variants), _expected(full, shares, variants)
    # Before there are units, the weights of now are the plan.
    plan = expected if any(expected.values()) else shares_of(experiment.allocation)
    return ExposureReport(
        units=units,
        expected=expected,
        planned_shares=_parts(plan, variants),
        seen_shares=_parts(units, variants) if any(units.values()) else dict.fromkeys(variants),
        present_hour=_total([hour for hour in hours if not hour.is_over], variants),
        met_two_variants=left_out["met_two"],
        moved=left_out["moved"],
        lost=lost.count if lost else 0,
        left_out=lost.left_out if lost else 0,
        returned=_returned(full, variants) if experiment.bucket_by == VISITOR else None,
        workers_without_last_report=len(lost_workers("exposures", since=experiment.started_at)),
        mismatch_p_value=sequential,
        chi_square_p_value=last,
        days=_days(full, variants),
        hours=_columns(full, variants),
    )


def _parts(numbers: Mapping[str, float], variants: Sequence[str]) -> dict[str, float]:
    whole = sum(numbers.values()) or 1.0
    return {variant: numbers.get(variant, 0.0) / whole for variant in variants}


def _columns(hours: Sequence[_Hour], variants: Sequence[str]) -> HourColumns:
    """Returns the units by hour and by phase, in order."""
    rows = [(hour, phase) for hour in hours for phase in sorted({one for one, _ in hour.units})]
    return HourColumns(
        first=hours[0].at if hours else None,
        hours=[(hour.at - hours[0].at) // _HOUR for hour, _ in rows],
        phase=[phase for _, phase in rows],
        units={arm: [hour.units.get((phase, arm), 0) for hour, phase in rows] for arm in variants},
    )


def _returned(hours: Iterable[_Hour], variants: Sequence[str]) -> dict[str, int]:
    total = sum((hour.returned for hour in hours), Counter())
    return {variant: total[variant] for variant in variants}


def _total(hours: Iterable[_Hour], variants: Sequence[str]) -> Counter[str]:
    total = Counter(dict.fromkeys(variants, 0))
    for hour in hours:
        total.update(hour.by_variant(variants))
    return total


def _expected(
    hours: Iterable[_Hour], phases: Mapping[int, Mapping[str, float]], variants: Sequence[str]
) -> dict[str, float]:
    """Returns what each variant would have of the units of all phases."""
    by_phase: Counter[int] = Counter()
    for hour in hours:
        for (phase, _), number in hour.units.items():
            by_phase[phase] += number
    expected = dict.fromkeys(variants, 0.0)
    for phase, number in by_phase.items():
        shares = phases.get(phase, {})
        taking_part = sum(shares.get(variant, 0.0) for variant in variants)
        for variant in variants if taking_part else ():
            expected[variant] += number * shares.get(variant, 0.0) / taking_part
    return expected


def _days(hours: Iterable[_Hour], variants: Sequence[str]) -> list[DayUnits]:
    days: dict[date, Counter[str]] = {}
    for hour in hours:
        found = days.setdefault(hour.at.date(), Counter(dict.fromkeys(variants, 0)))
        found.update(hour.by_variant(variants))
    return [DayUnits(day, units) for day, units in days.items()]


def _mismatch(
    hours: Sequence[_Hour], phases: Mapping[int, Mapping[str, float]], variants: Sequence[str]
) -> tuple[float, float]:
    """Returns the running minimum of the sequential test, and the chi-square test now."""
    seen: dict[int, dict[str, int]] = {}
    looks = []
    tested: list[Shares] = []
    for hour in hours:
        for (phase, variant), number in hour.units.items():
            of_phase = seen.setdefault(phase, {})
            of_phase[variant] = of_phase.get(variant, 0) + number
        tested = [
            _shares(units, phases[phase], variants)
            for phase, units in sorted(seen.items())
            # With one variant there is nothing to compare.
            if sum(share > 0 for share in phases.get(phase, {}).values()) > 1
        ]
        if tested:
            looks.append(sequential_p_value(tested))
    if not looks:
        return 1.0, 1.0
    return running_minimum(looks)[-1], chi_square(tested)


def _shares(
    units: Mapping[str, int], shares: Mapping[str, float], variants: Sequence[str]
) -> Shares:
    given = [variant for variant in variants if shares.get(variant)]
    return Shares([units.get(variant, 0) for variant in given], [shares[one] for one in given])


def _hours(experiment: Experiment, moved: BucketRanges) -> tuple[list[_Hour], Counter[str]]:
    """Returns the units by hour, and how many are left out."""
    connection = connections[conf.database]
    excluded, params = excluded_units(experiment.bucket_by, experiment.overrides)
    query = fill(
        sql("exposures_v1", "flagstaff.experiments"),
        {
            **optional_names(connection),
            "and_not_excluded": excluded,
            "is_moved": reassigned_sql(moved),
        },
    )
    hours: dict[datetime, _Hour] = {}
    left_out: Counter[str] = Counter()
    with connection.cursor() as cursor:
        try:
            cursor.execute(query, [experiment.pk, experiment.shuffle, *params])
        except (DataError, ProgrammingError) as error:
            if not conf.excluded_units:
                raise
            message = Text("a query of EXCLUDED_UNITS fails: {error}", error=error_text(error))
            raise ConfigurationError(message) from error
        for at, phase, variant, is_moved, is_over, number, returned in cursor.fetchall():
            if variant is None or is_moved:
                left_out["met_two" if variant is None else "moved"] += number
            else:
                hour = hours.setdefault(at, _Hour(at.astimezone(timezone.utc), is_over))
                hour.units[phase, variant] = number
                hour.returned[variant] += returned
    return [hours[at] for at in sorted(hours)], left_out
