"""What the driver does with a running plan, from the verdict and the callable guards. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flagstaff.rollouts.callables import Outcome
from flagstaff.rollouts.results import Verdict

__all__ = ["Decision", "decide"]

#: Roll back, hold, wait for the dwell time, or proceed to the next step or to the end.
Action = Literal["rollback", "hold", "wait", "proceed"]


@dataclass(frozen=True)
class Decision:
    """What to do, and why in one sentence."""

    action: Action
    why: str
    #: The guard that tripped, "brake", or None.
    trip: str | None = None


def decide(verdict: Verdict, outcomes: Sequence[Outcome], *, is_due: bool) -> Decision:
    """Returns what to do. A rollback comes before a hold, and a hold before the dwell time."""
    trips = [
        Decision("rollback" if one.guard.action == "rollback" else "hold", one.why, one.guard.path)
        for one in outcomes
        if one.fine is False
    ]
    if verdict.trip is not None:
        action: Action = "rollback" if verdict.trip_action == "rollback" else "hold"
        trips.insert(0, Decision(action, verdict.why, verdict.trip))
    if trips:
        return min(trips, key=lambda trip: trip.action != "rollback")
    for outcome in outcomes:
        if outcome.fine is None:
            return Decision("hold", outcome.why)
    if not is_due:
        return Decision("wait", verdict.why)
    return Decision("proceed" if verdict.passed else "hold", verdict.why)
