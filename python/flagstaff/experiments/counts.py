"""How many units have met each variant, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connections

from flagstaff._tables.names import fill, optional_names, sql
from flagstaff.conf import conf
from flagstaff.experiments.models import Experiment, LostExposures, Phase
from flagstaff.experiments.statistics import Shares, chi_square, running_minimum, sequential_p_value

__all__ = ["Counts", "count"]


@dataclass(frozen=True)
class Counts:
    """The exposures of an experiment, until the last full hour."""

    #: The units of each variant, without those that met two.
    units: Mapping[str, int]
    #: Units that met two variants. They are in no figure of a report.
    moved: int
    #: Exposures that workers had to leave out, because too many waited.
    lost: int
    #: Workers that have ended without their last report.
    lost_workers: int
    #: The smallest p value of the sequential mismatch test at any full hour, and that of one
    #: chi-square test now.
    mismatch_p_value: float
    chi_square_p_value: float
    #: The units of each variant by day.
    days: Sequence[tuple[datetime, Mapping[str, int]]] = field(default_factory=tuple)

    @property
    def total(self) -> int:
        """The units of all variants."""
        return sum(self.units.values())


@dataclass
class _Hour:
    at: datetime
    units: dict[tuple[int, str], int] = field(default_factory=dict)


def count(experiment: Experiment) -> Counts:
    """Returns the exposures of an experiment. Makes a few queries."""
    hours, moved = _hours(experiment)
    variants = [variant["key"] for variant in experiment.variants]
    phases = {
        phase.number: phase.shares
        for phase in Phase.objects.using(conf.database).filter(
            experiment_id=experiment.pk, shuffle=experiment.shuffle
        )
    }
    sequential, last = _mismatch(hours, phases, variants)
    lost = LostExposures.objects.using(conf.database).filter(experiment_id=experiment.pk).first()
    units = dict.fromkeys(variants, 0)
    days: dict[datetime, dict[str, int]] = {}
    for hour in hours:
        day = days.setdefault(hour.at.replace(hour=0), dict.fromkeys(variants, 0))
        for (_, variant), number in hour.units.items():
            units[variant] = units.get(variant, 0) + number
            day[variant] = day.get(variant, 0) + number
    return Counts(
        units=units,
        moved=moved,
        lost=lost.count if lost else 0,
        lost_workers=_lost_workers(experiment),
        mismatch_p_value=sequential,
        chi_square_p_value=last,
        days=tuple(days.items()),
    )


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
            if phase in phases
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


def _hours(experiment: Experiment) -> tuple[list[_Hour], int]:
    connection = connections[conf.database]
    query = fill(sql("exposures_v1", "flagstaff.experiments"), optional_names(connection))
    hours: dict[datetime, _Hour] = {}
    moved = 0
    with connection.cursor() as cursor:
        cursor.execute(query, [experiment.pk, experiment.shuffle])
        for at, phase, variant, number in cursor.fetchall():
            if variant is None:
                moved += number
            else:
                hours.setdefault(at, _Hour(at)).units[phase, variant] = number
    return [hours[at] for at in sorted(hours)], moved


def _lost_workers(experiment: Experiment) -> int:
    connection = connections[conf.database]
    query = fill(
        sql("lost_exposure_workers_v1", "flagstaff.experiments"), optional_names(connection)
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [experiment.started_at])
        return int(cursor.fetchone()[0])
