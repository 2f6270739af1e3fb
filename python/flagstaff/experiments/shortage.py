"""What a variant needs until a metric has an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flagstaff.experiments.results import Look, conversions_of
from flagstaff.experiments.statistics import (
    LEAST_CONVERSIONS,
    LEAST_USERS,
    PairSums,
    Sums,
    missing_contributors,
)

__all__ = ["Missing", "missing_for_interval"]


@dataclass(frozen=True)
class Missing:
    """What a variant needs until there is an interval."""

    #: 0 for the control, 1 for the treatment.
    arm: int
    #: "units", units "with_value" other than 0, or units "without_value" of a proportion.
    what: str
    number: int


def missing_for_interval(look: Look, *, is_sequential: bool) -> list[Missing]:
    """Returns what each arm needs, in the newest phase; nothing where an earlier phase is short.

    It says how much is missing, and nothing depends on it: an experiment that ended as soon as
    there is an interval would be right with `sequential` only.
    """
    found = []
    both = look.strata[-1].sums
    together = () if is_sequential else [sums.of_y for sums in both]
    for arm, sums in enumerate(both):
        needs = _needs_of_share(sums) if look.is_proportion else _needs_of_mean(sums, together)
        found += [Missing(arm, what, number) for what, number in needs.items() if number > 0]
    return found


def _needs_of_share(arm: PairSums) -> dict[str, int]:
    counts = conversions_of(arm)
    others = counts.users - counts.converted
    return {
        "with_value": LEAST_CONVERSIONS - counts.converted,
        "without_value": LEAST_CONVERSIONS - others,
    }


def _needs_of_mean(arm: PairSums, together: Sequence[Sums]) -> dict[str, int]:
    return {"with_value": missing_contributors(arm, together), "units": LEAST_USERS - arm.users}
