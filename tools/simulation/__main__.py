"""Simulates rollout plans and experiments, and checks their bounds: `make sim`.

    python -m tools.simulation [PART ...] [--scale 0.1]

Prints the figures of each part. Exits with 1 if a bound is broken. All parts take an hour.
"""

from __future__ import annotations

import argparse
import sys
import time

from tools.simulation import default_plan, experiments, networks, plans, visits

PARTS = {
    "plans": plans.run,
    "default_plan": default_plan.run,
    "networks": networks.run,
    "visits": visits.run,
    "experiments": experiments.run,
}


def main() -> int:
    """Runs the parts, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--scale", type=float, default=1.0, help="simulate so many times as much")
    options = parser.parse_args()
    status = 0
    for name in options.parts or PARTS:
        started = time.monotonic()
        text, problems = PARTS[name](options.scale)
        print(f"{name}\n\n{text}\n")
        took = time.monotonic() - started
        print(f"{took:.0f} s; bounds: {'; '.join(problems) or 'all kept'}\n", flush=True)
        status |= bool(problems)
    return status


if __name__ == "__main__":
    sys.exit(main())
