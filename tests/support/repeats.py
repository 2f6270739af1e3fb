"""How often a test is repeated, how much data it has, and which of its runs counts.

`make repeats` uses the full numbers, all other runs the reduced ones.
"""

import os
from collections.abc import Callable
from typing import Any

VARIABLE = "TEST_REPEATS"


def repeats(full: int, reduced: int) -> int:
    """Returns the full number if TEST_REPEATS=full, else the reduced one."""
    chosen = os.environ.get(VARIABLE, "reduced")
    return {"full": full, "reduced": reduced}[chosen]


def quietest(run: Callable[[], dict[str, Any]], max_gap: float) -> dict[str, Any]:
    """Returns the run with the shortest "gap" in seconds: the first one below `max_gap`, of three.

    On a busy machine another process can cause a gap, but hardly in each run.
    """
    figures = run()
    for _ in range(2):
        if figures["gap"] < max_gap:
            break
        figures = min(figures, run(), key=lambda figures_of_run: float(figures_of_run["gap"]))
    return figures
