"""Mutates the Python package, and counts how many mutants the tests catch.

    python -m tools.python_mutants record RECORD [--tests DIR] PATH...
    python -m tools.python_mutants run RECORD RESULTS --seed A [--lines 300] [--tests DIR]
    python -m tools.python_mutants compare OLD NEW

`record` runs the tests at these paths once and records which lines each one reaches. `run` draws
mutants and runs, for each, the tests that reach its line: the fastest first, until one fails, for
at most 120 s. A test that hangs catches its mutant. `compare` lists what only the first run caught.
--tests names another checkout whose tests run on the package of this one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.python_mutants.comparing import compare
from tools.python_mutants.running import record, run

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Runs the command of the arguments."""
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("record", type=Path)
    recording.add_argument("paths", nargs="+")
    running = commands.add_parser("run")
    running.add_argument("record", type=Path)
    running.add_argument("results", type=Path)
    running.add_argument("--seed", required=True)
    running.add_argument("--lines", type=int, default=300)
    for command in (recording, running):
        command.add_argument("--tests", type=Path, default=ROOT)
    comparing = commands.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    given = parser.parse_args()
    if given.command == "record":
        return record(given.tests.resolve(), given.record.resolve(), given.paths)
    if given.command == "run":
        run(given.tests.resolve(), given.record.resolve(), given.results, given.seed, given.lines)
        return 0
    return compare(given.old, given.new)


if __name__ == "__main__":
    sys.exit(main())
