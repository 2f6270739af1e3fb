"""The formulas of experiments. Pure, and nothing here blocks or queries.

An arm delivers `sums`; `proportions`, `means` and `cuped` make an `Estimate` of them, `strata`
combines those of several phases, and `estimates` makes an `Effect` of two: a difference or a lift.
`sequential` and `comparison` (a fixed horizon) give it an interval and a p value. `mismatch` comes
before, `holm` and `verdict` after, `planner` first of all. Standard library only.

    >>> control, treatment = Conversions(5_000, 500), Conversions(5_000, 620)
    >>> effect = difference(proportion(control), proportion(treatment))
    >>> found = always_valid(effect, Plan(units=10_000))
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (0.0049, 0.0431, 0.0048)
"""

from __future__ import annotations

from flagstaff.experiments.statistics.comparison import (
    Comparison,
    fixed_horizon,
    fixed_lower_bound,
)
from flagstaff.experiments.statistics.cuped import (
    Adjusted,
    adjust,
)
from flagstaff.experiments.statistics.estimates import (
    LEAST_STANDARD_ERRORS,
    Effect,
    Estimate,
    difference,
    lift,
)
from flagstaff.experiments.statistics.holm import (
    Corrected,
    holm,
)
from flagstaff.experiments.statistics.means import (
    LEAST_CONTRIBUTORS,
    LEAST_UNITS,
    has_enough,
    has_enough_together,
    mean,
    missing_contributors,
    ratio,
)
from flagstaff.experiments.statistics.mismatch import (
    CONCENTRATION,
    MISMATCH_ALPHA,
    Shares,
    chi_square,
    log_bayes_factor,
    sequential_p_value,
)
from flagstaff.experiments.statistics.planner import (
    Design,
    SampleSize,
    days_needed,
    detectable_mean_difference,
    detectable_proportion,
    least_units_of_mean,
    least_units_of_proportion,
    sample_size_of_means,
    sample_size_of_proportions,
)
from flagstaff.experiments.statistics.proportions import (
    LEAST_CONVERSIONS,
    compare_proportions,
    proportion,
    wilson_interval,
)
from flagstaff.experiments.statistics.sequential import (
    Plan,
    always_valid,
    critical_value,
    lower_bound,
    lower_critical_value,
    lower_p_value,
    running_minimum,
)
from flagstaff.experiments.statistics.strata import (
    combine,
    estimate_strata,
)
from flagstaff.experiments.statistics.sums import (
    Conversions,
    PairSums,
    Sums,
)
from flagstaff.experiments.statistics.verdict import (
    Evidence,
    Gates,
    Guardrail,
    Outcome,
    Primary,
    Statement,
    Verdict,
    judge,
)

__all__ = [
    "CONCENTRATION",
    "LEAST_CONTRIBUTORS",
    "LEAST_CONVERSIONS",
    "LEAST_STANDARD_ERRORS",
    "LEAST_UNITS",
    "MISMATCH_ALPHA",
    "Adjusted",
    "Comparison",
    "Conversions",
    "Corrected",
    "Design",
    "Effect",
    "Estimate",
    "Evidence",
    "Gates",
    "Guardrail",
    "Outcome",
    "PairSums",
    "Plan",
    "Primary",
    "SampleSize",
    "Shares",
    "Statement",
    "Sums",
    "Verdict",
    "adjust",
    "always_valid",
    "chi_square",
    "combine",
    "compare_proportions",
    "critical_value",
    "days_needed",
    "detectable_mean_difference",
    "detectable_proportion",
    "difference",
    "estimate_strata",
    "fixed_horizon",
    "fixed_lower_bound",
    "has_enough",
    "has_enough_together",
    "holm",
    "judge",
    "least_units_of_mean",
    "least_units_of_proportion",
    "lift",
    "log_bayes_factor",
    "lower_bound",
    "lower_critical_value",
    "lower_p_value",
    "mean",
    "missing_contributors",
    "proportion",
    "ratio",
    "running_minimum",
    "sample_size_of_means",
    "sample_size_of_proportions",
    "sequential_p_value",
    "wilson_interval",
]
