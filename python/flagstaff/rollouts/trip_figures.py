"""What the workers had counted at a trip, and what they have counted since then.

Workers write their last counts after a trip, so the counts of its run go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flagstaff.conf import conf
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.models import Plan, ReasonKind, State, StepRun
from flagstaff.rollouts.results import GuardCounts

__all__ = ["Trip", "trip_of"]


@dataclass(frozen=True)
class Trip:
    """A trip that was found, with its counts and those of later reports."""

    #: When it was carried out; None if that is still to be done.
    at: datetime | None
    #: The figures at the trip, as the plan has them. Empty if they could not be stored.
    figures: Mapping[str, Any]
    #: Users who failed after the trip, by number of the guard; 0 is errors.
    since: Mapping[int, GuardCounts]

    @property
    def failed(self) -> dict[int, GuardCounts]:
        """Users who had failed at the trip, by number of the guard."""
        return {
            guard["number"]: GuardCounts(guard["failed"]["inside"], guard["failed"]["outside"])
            for guard in self.figures.get("guards", ())
        }

    @property
    def names(self) -> dict[int, str]:
        """The names of the guards in English, by number."""
        return {guard["number"]: guard["name"] for guard in self.figures.get("guards", ())}


def trip_of(plan: Plan) -> Trip | None:
    """Returns the trip that a plan has not yet continued after; None without one.

    Makes up to six queries.
    """
    if plan.reason_kind != ReasonKind.TRIPPED:
        return None
    at = plan.ended_at if plan.state == State.ROLLED_BACK else None
    trip = Trip(at, plan.trip_figures or {}, {})
    # No run has begun since the trip.
    run = StepRun.objects.using(conf.database).filter(plan_id=plan.pk).order_by("-id").first()
    if run is None or not trip.figures:
        return trip
    now = read_evidence(run, database_now()).failed
    since = {}
    for number, before in trip.failed.items():
        counts = now.get(number, GuardCounts())
        since[number] = GuardCounts(
            max(counts.inside - before.inside, 0), max(counts.outside - before.outside, 0)
        )
    return Trip(at, trip.figures, since)
