"""What is known before an experiment starts: units per day, and the value of its primary metric.

Earlier experiments and the logins of users say it. What is not known is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db.models import Count, Max, Min
from django.utils import timezone

from flagstaff._tables.bucket_units import USER
from flagstaff._tables.user_lookup import actor_table
from flagstaff.changes.impact import limited
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.experiments.models import Experiment, Exposure
from flagstaff.experiments.report_json import report_of
from flagstaff.experiments.statistics import (
    detectable_mean_difference,
    detectable_proportion,
    least_units_of_mean,
    least_units_of_proportion,
    sample_size_of_means,
    sample_size_of_proportions,
)

#: The days in which logins are counted: a user has one time of the last login.
LOGIN_DAYS = 28
# Seconds for which a page waits for the figures.
_TIMEOUT = 0.5
_DAY = timedelta(days=1)
_ALL = 100


@dataclass(frozen=True)
class Traffic:
    """The new units of a day, if all units take part."""

    per_day: float
    #: The experiment that has counted them; empty for users who logged in.
    experiment: str = ""


@dataclass(frozen=True)
class Baseline:
    """The value of a metric without a change."""

    value: float
    #: Of a mean; None for a share of units.
    deviation: float | None = None
    #: The experiment whose control had it; empty for an assumption.
    experiment: str = ""

    def needed(self, effect: float) -> int | None:
        """Returns the units of each variant that find an effect; None for one that cannot be."""
        try:
            if self.deviation is not None:
                size = sample_size_of_means(self.deviation, effect).control
                return max(size, least_units_of_mean(self.value, self.deviation))
            above, below = self.value + effect, self.value - effect
            size = sample_size_of_proportions(self.value, above if above < 1 else below).control
            return max(size, least_units_of_proportion(self.value))
        except ValueError:
            return None

    def detectable(self, units: int) -> float | None:
        """Returns the smallest effect that so many units of each variant find; None without one."""
        try:
            if self.deviation is not None:
                is_enough = units >= least_units_of_mean(self.value, self.deviation)
                return detectable_mean_difference(self.deviation, units) if is_enough else None
            if units < least_units_of_proportion(self.value):
                return None
            found = detectable_proportion(self.value, units)
        except ValueError:
            return None
        return None if found is None else found - self.value


def traffic_of(bucket_by: str) -> Traffic | None:
    """Returns the units per day that the newest experiment by this unit has seen.

    Without one, users who logged in lately. Makes at most three queries, for half a second.
    """
    try:
        with limited(_TIMEOUT):
            return _counted(bucket_by) or (_logged_in() if bucket_by == USER else None)
    except FlagstaffError:
        return None


def baseline_of(metric: str) -> Baseline | None:
    """Returns the value of the control in the newest experiment with this primary metric.

    Makes the queries of its report unless it is stored, each for half a second.
    """
    experiments = Experiment.objects.using(conf.database).order_by("-started_at")
    newest = experiments.filter(primary_metric=metric, phase__gt=0).first()
    if newest is None:
        return None
    # The others would take most of the time.
    newest.other_metrics, newest.guardrails = [], {}
    try:
        with limited(_TIMEOUT):
            found = report_of(newest).metrics[0]
    except (FlagstaffError, IndexError):
        return None
    look = found.treatments[0].newest if found.treatments else None
    if look is None:
        return None
    if found.is_proportion:
        return Baseline(look.control, experiment=newest.key)
    units = sum(phase.control["units"] for phase in look.phases)
    return Baseline(look.control, look.control_standard_error * math.sqrt(units), newest.key)


def _counted(bucket_by: str) -> Traffic | None:
    experiments = Experiment.objects.using(conf.database).order_by("-started_at")
    found = experiments.filter(
        bucket_by=bucket_by, phase__gt=0, exposures_deleted_at=None, traffic_percent__gt=0
    ).only("key", "shuffle", "traffic_percent")
    if (newest := found.first()) is None:
        return None
    exposures = Exposure.objects.using(conf.database).filter(
        experiment_id=newest.pk, shuffle=newest.shuffle
    )
    seen = exposures.aggregate(units=Count("*"), first=Min("at"), last=Max("at"))
    if not seen["units"]:
        return None
    days = max((seen["last"] - seen["first"]) / _DAY, 1.0)
    return Traffic(seen["units"] / days * _ALL / newest.traffic_percent, newest.key)


def _logged_in() -> Traffic | None:
    if not any(field.name == "last_login" for field in get_user_model()._meta.get_fields()):
        return None
    since = timezone.now() - LOGIN_DAYS * _DAY
    users = actor_table().rows.filter(last_login__gte=since).order_by().count()
    return Traffic(users / LOGIN_DAYS) if users else None
