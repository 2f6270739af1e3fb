"""Simulates rollout plans and checks the bounds: `python -m tools.simulation [--json]`.

Each table has the share of plans that a rule tripped, its upper 99 % bound, and by step that share
with the median number of users who had failed inside; then the median of all trips, and the mean of
all plans until the trip or the end. Exits with 1 if a bound is broken. Takes minutes.
"""

from __future__ import annotations

import argparse
import sys
import time

from tools.simulation.printing import print_result
from tools.simulation.report import as_json, broken_bounds, figures_of, report
from tools.simulation.scenarios import run_all, scenarios


def main() -> int:
    """Runs all scenarios, prints their figures, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=4000, help="plans without harm")
    parser.add_argument("--others", type=int, default=240, help="plans of each other scenario")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    started = time.monotonic()
    results = run_all(scenarios(options.plans, options.others))
    found = {name: figures_of(one) for name, one in results.items()}
    problems = broken_bounds(found)
    return print_result(
        report(found), as_json(found), problems, started=started, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
