"""The number of repeats of a test, or the size of its data.

`make test-faults` uses the reduced numbers, `make test-repeats` the full ones.
"""

from __future__ import annotations

import os

__all__ = ["repeats"]

VARIABLE = "TEST_REPEATS"


def repeats(full: int, reduced: int) -> int:
    """Returns the full number if TEST_REPEATS=full, else the reduced one."""
    chosen = os.environ.get(VARIABLE, "reduced")
    return {"full": full, "reduced": reduced}[chosen]
