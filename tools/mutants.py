"""Mutate the core, and test each mutant: `python -m tools.mutants path/to/cargo-mutants [pattern]`.

A mutant is the core with one small change, such as `<` for `<=`. A mutant that no test catches
shows a behaviour without a test. Fails if the core's tests catch fewer than 95 %. A pattern, such
as `src/live.rs`, selects some mutants. The settings are in .cargo/mutants.toml.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "target" / "mutants.out"
LEAST_PERCENT = 95
# All caught, some missed, some timed out. Anything else is an error of the run itself.
COMPLETED = (0, 2, 3)
# The same random cases for each mutant, and no search for the smallest case that fails.
PROPTEST = {
    "PROPTEST_RNG_SEED": "1",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "1",
}


class Outcome(NamedTuple):
    """What the tests made of one mutant: CaughtMutant, Timeout, MissedMutant or Unviable."""

    module: str
    mutant: str
    result: str


def main() -> int:
    """Runs all mutants, or those of a pattern, and prints the score of each module."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    program, *pattern = sys.argv[1:]
    command = [str(Path(program).resolve()), "mutants", *(f"--re={name}" for name in pattern)]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **PROPTEST}, check=False).returncode
    if code not in COMPLETED:
        print(f"cargo-mutants failed with exit code {code}, see {OUTPUT}", file=sys.stderr)
        return 1
    outcomes = outcomes_of((OUTPUT / "outcomes.json").read_text(), *pattern)
    print("\n".join(report(outcomes)))
    return 0 if percent_of(outcomes) >= LEAST_PERCENT else 1


def outcomes_of(text: str, pattern: str = "") -> list[Outcome]:
    """Returns the outcome of each mutant that compiles, from the text of outcomes.json.

    cargo-mutants also tests every mutant that deletes a field, whatever the pattern.
    """
    outcomes = [
        Outcome(mutant["file"], mutant["name"], outcome["summary"])
        for outcome in json.loads(text)["outcomes"]
        if outcome["scenario"] != "Baseline"
        for mutant in [outcome["scenario"]["Mutant"]]
    ]
    return [
        outcome
        for outcome in outcomes
        if re.search(pattern, outcome.mutant) and outcome.result != "Unviable"
    ]


def percent_of(outcomes: list[Outcome]) -> float:
    """Returns the percentage of the mutants that the tests noticed, also by a timeout."""
    noticed = sum(outcome.result != "MissedMutant" for outcome in outcomes)
    return 100 * noticed / len(outcomes) if outcomes else 0.0


def report(outcomes: list[Outcome]) -> list[str]:
    """Returns the lines of the report: the missed mutants, the timeouts, the score per module."""
    named = {"MissedMutant": "missed", "Timeout": "timed out"}
    lines = [
        f"{named[outcome.result]}: {outcome.mutant}"
        for outcome in outcomes
        if outcome.result in named
    ]
    modules = sorted({outcome.module for outcome in outcomes})
    groups = [
        (name, [outcome for outcome in outcomes if outcome.module == name]) for name in modules
    ]
    for name, group in [*groups, ("total", outcomes)]:
        noticed = sum(outcome.result != "MissedMutant" for outcome in group)
        lines.append(f"{name:26} {noticed:4} of {len(group):4} {percent_of(group):6.1f} %")
    if percent_of(outcomes) < LEAST_PERCENT:
        lines.append(f"The tests catch less than {LEAST_PERCENT} %: add tests for missed mutants.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
