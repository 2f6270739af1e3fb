"""How many units have met each variant, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone

from django.db import DataError, ProgrammingError, connections

from flagstaff._engine.worker_register import lost_workers
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._tables.sqlstate import error_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments import messages
from flagstaff.experiments.models import Experiment, LostExposures
from flagstaff.experiments.reassigned_buckets import (
    BucketRanges,
    ReassignedBuckets,
    reassigned_buckets,
    reassigned_sql,
    shares_that_stay,
)
from flagstaff.experiments.sources import excluded_units
from flagstaff.experiments.statistics import Shares, chi_square, running_minimum, sequential_p_value


@dataclass(frozen=True)
class HourUnits:
    """The units that met a variant in one hour and phase."""

    at: datetime
    phase: int
    units: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """The exposures of an experiment since its last shuffle."""

    #: The units of each variant until the last full hour, without those that met two.
    units: Mapping[str, int]
    #: The units of each variant that the weights of the phases give.
    expected: Mapping[str, float]
    #: The units of each variant in the present hour, which is not analysed yet.
    present_hour: Mapping[str, int]
    #: Units that met two variants. They are in no figure of a report.
    met_two: int
    #: Units whose bucket got another variant later. They are in no figure either.
    moved: int
    #: Exposures that workers had to leave out, because too many waited.
    lost: int
    #: New visitors above the limit of an hour. They got the default, whatever their variant.
    left_out: int
    #: Workers that have ended without their last report.
    lost_workers: int
    #: The smallest p value of the sequential mismatch test at any full hour, and that of one
    #: chi-square test now.
    mismatch_p_value: float
    chi_square_p_value: float
    #: The units of each variant by day, in UTC.
    days: Sequence[tuple[date, Mapping[str, int]]] = ()
    #: The same by full hour and phase: what both p values are computed from.
    hours: Sequence[HourUnits] = ()
    #: By phase, the share of all units that each variant has of those that are analysed.
    shares: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    #: The visitors of `units` whose browser has sent the cookie back; empty for other units. Only
    #: shown: a variant can make browsers leave, so figures without those that never come back
    #: would compare different kinds of visitors.
    returned: Mapping[str, int] = field(default_factory=dict)


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

    def by_phase(self) -> list[HourUnits]:
        found: dict[int, dict[str, int]] = {}
        for (phase, variant), number in self.units.items():
            found.setdefault(phase, {})[variant] = number
        return [HourUnits(self.at, phase, found[phase]) for phase in sorted(found)]


def count(experiment: Experiment, reassigned: ReassignedBuckets | None = None) -> Counts:
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
    return Counts(
        units=_total(full, variants),
        expected=_expected(full, shares, variants),
        present_hour=_total([hour for hour in hours if not hour.is_over], variants),
        met_two=left_out["met_two"],
        moved=left_out["moved"],
        lost=lost.count if lost else 0,
        left_out=lost.left_out if lost else 0,
        lost_workers=len(lost_workers("exposures", since=experiment.started_at)),
        mismatch_p_value=sequential,
        chi_square_p_value=last,
        days=_days(full, variants),
        hours=[one for hour in full for one in hour.by_phase()],
        shares=shares,
        returned=_returned(full, variants) if experiment.bucket_by == VISITOR else {},
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


def _days(
    hours: Iterable[_Hour], variants: Sequence[str]
) -> tuple[tuple[date, Mapping[str, int]], ...]:
    days: dict[date, Counter[str]] = {}
    for hour in hours:
        found = days.setdefault(hour.at.date(), Counter(dict.fromkeys(variants, 0)))
        found.update(hour.by_variant(variants))
    return tuple(days.items())


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
            message = messages.EXCLUDED_UNITS_FAIL(error=error_text(error))
            raise ConfigurationError(message) from error
        for at, phase, variant, is_moved, is_over, number, returned in cursor.fetchall():
            if variant is None or is_moved:
                left_out["met_two" if variant is None else "moved"] += number
            else:
                hour = hours.setdefault(at, _Hour(at.astimezone(timezone.utc), is_over))
                hour.units[phase, variant] = number
                hour.returned[variant] += returned
    return [hours[at] for at in sorted(hours)], left_out
