"""What a step is judged by, and what follows from it, also as JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

Action = Literal["rollback", "hold"]

#: The name of the brake in `StepVerdict.trip`.
BRAKE = "brake"

#: Where networks are known, a trip needs this many more failing users inside than without: a person
#: at home has one network of IPv4 and one of IPv6.
SPARE_NETWORKS = 2


#: Outside, inside.
Sides = tuple[int, int]


@dataclass
class Tenth:
    """What was written of a guard in a tenth of the dwell time, outside and inside."""

    #: The users who failed first in it.
    users: Sides = (0, 0)
    #: The requests at risk, and those of them that failed.
    at_risk: Sides = (0, 0)
    failed: Sides = (0, 0)

    def __add__(self, other: Tenth) -> Tenth:
        return Tenth(
            _sum(self.users, other.users),
            _sum(self.at_risk, other.at_risk),
            _sum(self.failed, other.failed),
        )


def _sum(first: Sides, second: Sides) -> Sides:
    return first[0] + second[0], first[1] + second[1]


@dataclass(frozen=True)
class GuardCounts:
    """The numbers of users who failed a guard in this step, each counted once."""

    inside: int = 0
    outside: int = 0
    #: Those who do not count, because another user of their network failed first.
    left_out: int = 0
    #: Visitors inside who failed, and those of them whose cookie is younger than the run.
    visitors: int = 0
    new_visitors: int = 0
    #: By the number of the tenth, from 0. 10 and more are those after the dwell time.
    tenths: Mapping[int, Tenth] = field(default_factory=dict)


@dataclass(frozen=True)
class StepEvidence:
    """What the workers have counted in one stretch of measuring."""

    #: The users seen, estimated by `statistics.cardinality`.
    users_inside: float
    users_outside: float
    #: The relative standard error of the share of users inside, see `statistics.share_error`.
    theta_error: float
    #: By number of the guard; 0 is errors.
    failed: Mapping[int, GuardCounts]
    #: Requests and tasks outside and inside.
    requests: tuple[int, int]
    lost_workers: int = 0
    #: Whether a worker that counts for plans lives.
    has_workers: bool = True
    #: Counts that a worker has dropped because its memory for them was full.
    dropped: int = 0
    #: Users who were seen and do not count, because others of their networks came first.
    left_out: float = 0.0
    #: The number of failing users inside that a trip must not depend on.
    spare: int = 0
    #: When the run began.
    began_at: datetime | None = None


@dataclass(frozen=True)
class Comparison:
    """What the failing users, or the failing requests at risk, say about one guard."""

    #: "users" or "requests".
    by: str
    #: Those who failed. A user whose requests failed in several workers counts once, so the numbers
    #: of requests have fractions.
    inside: float
    outside: float
    #: The share inside of all users, or of all requests at risk.
    share: float
    #: How many times as often those inside fail; None without failures.
    ratio: float | None
    #: The evidence of harm, and logarithms of its parts by the tenth from which on failures count.
    e_value: float
    log_e_values: tuple[float, ...]
    #: The always-valid upper bound of the ratio; inf without enough failures.
    upper: float
    #: The ratio that more requests explain, up to which the number of users passes.
    explained: float
    passed: bool


@dataclass(frozen=True)
class GuardResult:
    """What the evidence says about one guard: by the comparisons that decide."""

    number: int
    name: str
    failed: GuardCounts
    #: The requests at risk outside and inside, and those of them that failed.
    at_risk: Sides
    failed_at_risk: Sides
    #: All comparisons that are possible, and the names of those that decide.
    comparisons: tuple[Comparison, ...]
    decides: tuple[str, ...]
    #: That of the first of these.
    ratio: float | None
    #: The smallest of these. It trips at the threshold.
    e_value: float
    threshold: float
    #: The largest of these.
    upper: float
    #: The step passes if the upper bound is below.
    limit: float
    tripped: bool
    passed: bool
    #: Where the number of users passes: the smallest ratio that would have tripped in 4 of 5 cases.
    #: None without failures.
    smallest_harm: float | None = None
    #: The share of the users outside who have failed, if it is so high that users show little.
    failed_share: float | None = None
    #: The tenth since which there are signs of harm.
    harm_since: int | None = None


@dataclass(frozen=True)
class StepVerdict:
    """Whether a step trips, passes or holds, and why."""

    evidence: StepEvidence
    #: The name of the guard that tripped, or "brake".
    trip: str | None
    trip_action: Action | None
    #: Whether the next step may follow once the dwell time has ended.
    passed: bool
    #: A message for people.
    why: str
    guards: tuple[GuardResult, ...] = ()
    #: The number of failing users inside that trips the brake if none fails outside; None if off.
    brake: int | None = None

    def figures(self) -> dict[str, Any]:
        """Returns the counts and the verdict as a dict for JSON, which has no infinity: None."""
        evidence, members = self.evidence, asdict(self)
        del members["evidence"], members["why"]
        outside, inside = evidence.requests
        figures = {
            "users_inside": round(evidence.users_inside),
            "users_outside": round(evidence.users_outside),
            "requests_inside": inside,
            "requests_outside": outside,
            "lost_workers": evidence.lost_workers,
            "has_workers": evidence.has_workers,
            "dropped": evidence.dropped,
            "left_out": round(evidence.left_out),
            **members,
        }
        return cast("dict[str, Any]", _finite(figures))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
