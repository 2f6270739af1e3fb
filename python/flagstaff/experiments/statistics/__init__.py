"""The formulas of experiments. Pure, and nothing here blocks or queries.

An arm delivers `sums`; `means` and `cuped` make an `Estimate` of them, and `estimates` makes an
`Effect` of two: a difference or a lift. `sequential` gives it an interval and a p value that are
valid at every look. `mismatch` comes before, `holm` and `verdict` after, `planner` first of all.
Standard library only.

    >>> control, treatment = Conversions(5_000, 500), Conversions(5_000, 620)
    >>> effect = difference(proportion(control), proportion(treatment))
    >>> found = always_valid(effect, Plan(units=10_000))
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (0.0049, 0.0431, 0.0048)
"""

from __future__ import annotations

from flagstaff.experiments.statistics.cuped import Adjusted, adjust
from flagstaff.experiments.statistics.estimates import (
    LEAST_STANDARD_ERRORS,
    Comparison,
    Effect,
    Estimate,
    difference,
    lift,
)
from flagstaff.experiments.statistics.holm import Corrected, holm
from flagstaff.experiments.statistics.means import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_UNITS,
    has_enough,
    mean,
    missing_contributors,
    proportion,
    ratio,
)
from flagstaff.experiments.statistics.mismatch import (
    CONCENTRATION,
    MISMATCH_ALPHA,
    Shares,
    log_bayes_factor,
    sequential_p_value,
)
from flagstaff.experiments.statistics.planner import (
    LOOKING_COSTS,
    least_units_of_mean,
    least_units_of_proportion,
    units_for_means,
    units_for_proportions,
)
from flagstaff.experiments.statistics.sequential import (
    Plan,
    always_valid,
    critical_value,
    lower_bound,
    lower_critical_value,
)
from flagstaff.experiments.statistics.sums import Conversions, PairSums, Sums
from flagstaff.experiments.statistics.verdict import (
    Evidence,
    Guardrail,
    Outcome,
    Statement,
    conclusions,
    judge,
)

__all__ = [
    "CONCENTRATION",
    "LEAST_CONTRIBUTORS",
    "LEAST_CONVERSIONS",
    "LEAST_STANDARD_ERRORS",
    "LEAST_UNITS",
    "LOOKING_COSTS",
    "MISMATCH_ALPHA",
    "Adjusted",
    "Comparison",
    "Conversions",
    "Corrected",
    "Effect",
    "Estimate",
    "Evidence",
    "Guardrail",
    "Outcome",
    "PairSums",
    "Plan",
    "Shares",
    "Statement",
    "Sums",
    "adjust",
    "always_valid",
    "conclusions",
    "critical_value",
    "difference",
    "has_enough",
    "holm",
    "judge",
    "least_units_of_mean",
    "least_units_of_proportion",
    "lift",
    "log_bayes_factor",
    "lower_bound",
    "lower_critical_value",
    "mean",
    "missing_contributors",
    "proportion",
    "ratio",
    "sequential_p_value",
    "units_for_means",
    "units_for_proportions",
]
