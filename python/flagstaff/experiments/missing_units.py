"""What a variant needs until a metric has an interval."""

from __future__ import annotations

from collections.abc import Sequence

from flagstaff.experiments.report_data import MissingUnits
from flagstaff.experiments.results import Analysis, Look, conversions_of
from flagstaff.experiments.statistics import (
    LEAST_CONVERSIONS,
    LEAST_UNITS,
    PairSums,
    Sums,
    missing_contributors,
)


def missing_for_interval(
    look: Look, arms: tuple[str, str], analysis: Analysis
) -> list[MissingUnits]:
    """Returns what each arm needs, in the newest phase; nothing where an earlier phase is short.

    It says how much is missing, and nothing depends on it: an experiment that ended as soon as
    there is an interval would be right with `sequential` only.
    """
    both = look.strata[-1].sums
    together = () if analysis.is_sequential else [sums.of_y for sums in both]
    return [
        MissingUnits(arm, what, number)
        for arm, sums in zip(arms, both, strict=True)
        for what, number in (
            _needs_of_share(sums) if look.is_proportion else _needs_of_mean(sums, together)
        ).items()
        if number > 0
    ]


def _needs_of_share(arm: PairSums) -> dict[str, int]:
    counts = conversions_of(arm)
    others = counts.units - counts.converted
    return {
        "with_value": LEAST_CONVERSIONS - counts.converted,
        "without_value": LEAST_CONVERSIONS - others,
    }


def _needs_of_mean(arm: PairSums, together: Sequence[Sums]) -> dict[str, int]:
    return {"with_value": missing_contributors(arm, together), "units": LEAST_UNITS - arm.units}
