"""Two common rules beside the verdict, on the same counts: a fixed threshold and a z-test.

Both watch errors only, so with the two latency limits they would trip more often by chance.
"""

from __future__ import annotations

import math

from tools.simulation.workers import Stored

__all__ = ["ALPHA_Z", "fixed_threshold", "z_of_errors"]

#: One-sided 5 %.
ALPHA_Z = 1.6449

_WINDOW = 5
_LEAST_REQUESTS = 100
_TIMES = 2.0


def fixed_threshold(stored: Stored, usual: float) -> bool:
    """Returns whether twice the usual share of at least 100 requests in 5 minutes had errors."""
    window = stored.inside[-_WINDOW:]
    requests = sum(one for one, _ in window)
    errors = sum(one for _, one in window)
    return requests >= _LEAST_REQUESTS and errors > _TIMES * usual * requests


def z_of_errors(stored: Stored) -> float:
    """Returns the pooled z of the users with errors inside against those outside; 0 without."""
    outside, inside = stored.users
    failed_outside, failed_inside = (len(users) for users in stored.failed[0])
    if not inside or not outside:
        return 0.0
    pooled = (failed_inside + failed_outside) / (inside + outside)
    variance = pooled * (1 - pooled) * (1 / inside + 1 / outside)
    if variance <= 0:
        return 0.0
    return (failed_inside / inside - failed_outside / outside) / math.sqrt(variance)
