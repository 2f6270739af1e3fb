"""Simulates experiments and checks the bounds: `python -m tools.experiment_simulation [--json]`.

Without an effect: the share of experiments in which a rule ever speaks, with its upper 99 % bound.
With one: the power of one look at the planned size, the share that always-valid results find, and
how long that takes, in planned sizes. Exits with 1 if a bound is broken. Takes a minute.
"""

from __future__ import annotations

import argparse
import sys
import time

from tools.experiment_simulation.report import all_figures, as_json, broken_bounds, report
from tools.experiment_simulation.runs import run_all
from tools.experiment_simulation.scenarios import scenarios
from tools.simulation.printing import print_result


def main() -> int:
    """Runs all scenarios, prints their figures, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000, help="experiments of a scenario")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    started = time.monotonic()
    chosen = scenarios(options.runs)
    found = all_figures(chosen, run_all(chosen))
    problems = broken_bounds(found)
    return print_result(
        report(found), as_json(found), problems, started=started, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
