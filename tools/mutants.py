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
import time
from collections import Counter
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
    """What the tests made of one mutant."""

    module: str
    mutant: str
    result: str


class Score(NamedTuple):
    """The numbers of mutants by result. Those that do not compile do not count."""

    caught: int
    timeouts: int
    missed: int

    @property
    def viable(self) -> int:
        """Returns the number of mutants that compile."""
        return self.caught + self.timeouts + self.missed

    @property
    def percent(self) -> float:
        """Returns the percentage of the viable mutants that the tests noticed."""
        return 100 * (self.caught + self.timeouts) / self.viable if self.viable else 0.0


def main() -> int:
    """Runs all mutants, or those of a pattern, and prints the score of each module."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    program, *pattern = sys.argv[1:]
    command = [str(Path(program).resolve()), "mutants", *(f"--re={name}" for name in pattern)]
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **PROPTEST}, check=False).returncode
    if code not in COMPLETED:
        print(f"cargo-mutants failed with exit code {code}, see {OUTPUT}", file=sys.stderr)
        return 1
    outcomes = outcomes_of((OUTPUT / "outcomes.json").read_text(), *pattern)
    print("\n".join(report(outcomes)), f"\n{time.monotonic() - started:.0f} s")
    return 0 if score_of(outcomes).percent >= LEAST_PERCENT else 1


def outcomes_of(text: str, pattern: str = "") -> list[Outcome]:
    """Returns the outcome of each mutant from the text of outcomes.json.

    cargo-mutants also tests every mutant that deletes a field, whatever the pattern.
    """
    mutants = [
        (outcome["scenario"]["Mutant"], outcome["summary"])
        for outcome in json.loads(text)["outcomes"]
        if outcome["scenario"] != "Baseline"
    ]
    return [
        Outcome(mutant["file"], mutant["name"], result)
        for mutant, result in mutants
        if re.search(pattern, mutant["name"])
    ]


def score_of(outcomes: list[Outcome]) -> Score:
    """Returns the score of these mutants."""
    results = Counter(outcome.result for outcome in outcomes)
    return Score(results["CaughtMutant"], results["Timeout"], results["MissedMutant"])


def report(outcomes: list[Outcome]) -> list[str]:
    """Returns the lines of the report: the missed mutants, the timeouts, the score per module."""
    named = {"MissedMutant": "missed", "Timeout": "timed out"}
    lines = [f"{named[one.result]}: {one.mutant}" for one in outcomes if one.result in named]
    modules = sorted({outcome.module for outcome in outcomes})
    lines += [line(name, [one for one in outcomes if one.module == name]) for name in modules]
    lines.append(line("total", outcomes))
    if score_of(outcomes).percent < LEAST_PERCENT:
        lines.append(f"The tests catch less than {LEAST_PERCENT} %: add tests for missed mutants.")
    return lines


def line(name: str, outcomes: list[Outcome]) -> str:
    """Returns the score of these mutants as a line."""
    score = score_of(outcomes)
    noticed = score.caught + score.timeouts
    return f"{name:26} {noticed:4} of {score.viable:4} {score.percent:6.1f} %"


if __name__ == "__main__":
    sys.exit(main())
