"""Sample-ratio mismatch: whether the numbers of units per arm contradict the weights.

It comes before anything else: with a mismatch the arms are not comparable, and there is no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: A p value below is a mismatch. Small, because each experiment is tested, many times.
MISMATCH_ALPHA = 0.001
#: The prior of the sequential test, in units: the expected shares weigh as if they had been seen in
#: this number of units. See `log_bayes_factor`.
CONCENTRATION = 1_000.0

#: ln(2π) / 2.
HALF_LOG_TWO_PI = math.log(2 * math.pi) / 2

# B(2k) / (2k·(2k - 1)) for k from 1, the coefficients of a^(1 - 2k).
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
# From here on the series is exact to 1e-16.
_LARGE = 15.0


@dataclass(frozen=True)
class Shares:
    """The units of each arm, and the weights of the arms, on any scale.

    An arm of weight 0 is left out.
    """

    units: Sequence[int]
    weights: Sequence[float]

    @property
    def total(self) -> int:
        """The units of all arms."""
        return sum(self.units)

    @property
    def expected(self) -> list[float]:
        """The share of each arm by the weights."""
        total = math.fsum(self.weights)
        return [weight / total for weight in self.weights]


def sequential_p_value(seen: Shares, concentration: float = CONCENTRATION) -> float:
    """Returns the p value of the sequential multinomial test, valid at every look.

    min(1, 1 / Bayes factor), Lindon and Malek 2020, "Anytime-valid inference for multinomial count
    data" (arXiv 2011.03567). A report shows the smallest one of its looks.

        >>> round(sequential_p_value(Shares([5_200, 4_800], [50, 50])), 5)
        0.0023
    """
    return math.exp(min(-log_bayes_factor(seen, concentration), 0.0))


def log_bayes_factor(seen: Shares, concentration: float = CONCENTRATION) -> float:
    """Returns the logarithm of the Bayes factor of other shares against the expected ones.

    The alternative is a Dirichlet prior with the parameters concentration·(expected share) (arXiv
    2011.03567, equation 4). The concentration 1,000 finds small faults with the fewest units, and
    large ones soon enough: where the weights are halves but the share is 51 %, a p value below
    0.001 takes 40,000 units (median), at 55 % 2,200, at 60 % 820. A uniform prior (2) takes 60,000,
    1,900 and 480, and 10,000 takes 42,000, 4,600 and 2,100.

    It is ln of Γ(c) / Γ(c + n)·Π Γ(c·t + s) / Γ(c·t) / t^s for shares t and units s. With
    Stirling's formula for Γ the large terms cancel, and terms of the size of a logarithm are left
    beside Σ (c·t + s)·ln((c·t + s) / ((c + n)·t)).

        >>> log_bayes_factor(Shares([0, 0], [50, 50]))
        0.0
        >>> log_bayes_factor(Shares([5_000, 5_000], [50, 50])) < 0
        True
    """
    if not seen.total:
        return 0.0
    after = concentration + seen.total
    logarithm = (math.log(after / concentration)) / 2
    logarithm += stirling_error(concentration) - stirling_error(after)
    for number, share in zip(seen.units, seen.expected, strict=True):
        prior = concentration * share
        posterior = prior + number
        surplus = (number - seen.total * share) / (after * share)
        logarithm += posterior * math.log1p(surplus) - math.log(posterior / prior) / 2
        logarithm += stirling_error(posterior) - stirling_error(prior)
    return logarithm


def stirling_error(a: float) -> float:
    """Returns ln Γ(a) less Stirling's formula, (a - 1/2)·ln a - a + ln(2π)/2, for `a` above 0.

    ln Γ of a million is 12.8 million, so a difference of two has an error of 1e-9. The differences
    of this small term have not. Series: DLMF 5.11.1; its use: Loader 2000, "Fast and accurate
    computation of binomial probabilities".

        >>> round(stirling_error(1), 10) == round(1 - HALF_LOG_TWO_PI, 10)
        True
        >>> round(stirling_error(1e6) * 12e6, 9)
        1.0
    """
    if a < _LARGE:
        return math.lgamma(a) - (a - 0.5) * math.log(a) + a - HALF_LOG_TWO_PI
    total, square = 0.0, a * a
    for coefficient in reversed(_SERIES):
        total = total / square + coefficient
    return total / a
