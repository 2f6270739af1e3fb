"""Runs a code base's own tests before and after the patch of all its flags.

`python -m tools.reference_accuracy.own_tests DIR --python P -- -m pytest -q`

Rewrites copies of DIR as `flags rewrite waffle` does, and runs the command with P, the Python of
DIR's virtual environment (3.10 or newer, Django 5.2 or newer), in the root of each copy. P needs no
flagstaff: this checkout's is used. The command runs pytest (its JUnit XML is read), or unittest by
`-v`, or Django's by `-v 2` (the output is read). No flag is read from a database: all are off, or
what the test overrides. For each result, on and off, three runs are compared:

- before: the code without a patch
- forced: the same, with all flags forced to the result, also where a test overrides them
- after: the code with the patch for this result; what the patch leaves is forced to it

A test that changes from "before" to "after" and is the same in "forced" and "after" is about the
removed branch: expected. A test that differs between "forced" and "after" is a fault of the patch,
or a test that mocks an evaluation by hand. Exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.patching import patch
from flagstaff.cleanup.references.searching import search_files
from tools.reference_accuracy.copying import copied, rewrite_copy
from tools.reference_accuracy.test_results import Results, changes, counted, results_of

__all__ = ["environment", "main"]

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parents[1] / "python"


@dataclass(frozen=True)
class _Runner:
    """Runs the tests of copies of one code base."""

    source: Path
    python: str
    command: list[str]
    #: The name of each run's output is written below this folder.
    logs: Path

    def run(self, name: str, *, forced: bool | None = None, patched: bool | None = None) -> Results:
        """Copies, rewrites and patches the code base, and returns the results of its tests."""
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary).resolve() / self.source.name
            copied(self.source, root)
            rewrite_copy(root)
            keys = _patch(root, patched)
            report, output = self.logs / f"{name}.xml", self.logs / f"{name}.txt"
            with output.open("wb") as file:
                subprocess.run(
                    [self.python, *self.command],
                    cwd=root,
                    env=environment(root, keys, report, forced=forced),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        results = results_of(report, output)
        if not results:
            sys.exit(f"no test ran: {output.read_text(errors='replace')[-1000:]}")
        print(f"{name:12} {counted(results)}", flush=True)
        return results


def main() -> int:
    """Runs the tests, prints each test whose result changed, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--python", metavar="P", default=sys.executable)
    parser.add_argument("--logs", type=Path, help="a folder for the output of the runs")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        logs = (options.logs or Path(temporary)).resolve()
        logs.mkdir(parents=True, exist_ok=True)
        # Without resolving: the Python of a virtual environment is a link.
        python = os.path.abspath(options.python)  # noqa: PTH100
        return _compared(_Runner(options.folder.resolve(), python, options.command, logs))


def _compared(runner: _Runner) -> int:
    before = runner.run("before")
    faults = 0
    for is_on in (True, False):
        state = "on" if is_on else "off"
        forced = runner.run(f"forced-{state}", forced=is_on)
        after = runner.run(f"after-{state}", forced=is_on, patched=is_on)
        wrong = changes(forced, after)
        for test, (old, new) in changes(before, after).items():
            kind = "DIFFERS " if test in wrong else "EXPECTED"
            print(f"  {kind} {test}: {old}, then {new}")
        for test, (old, new) in wrong.items():
            print(f"  FAULT    {test}: {old} with the flags forced {state}, {new} with the patch")
        faults += len(wrong)
    ran = any(result == "passed" for result in before.values())
    return 0 if ran and not faults else 1


def environment(
    root: Path, keys: list[str], report: Path, *, forced: bool | None
) -> dict[str, str]:
    """Returns the environment of the tests: the code base, flagstaff, and the flags' results."""
    paths = [str(root), str(_HERE / "forced"), str(_PACKAGE)]
    outer = {name: text for name, text in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    added = shlex.quote(f"--junitxml={report}")
    return outer | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": f"{outer.get('PYTEST_ADDOPTS', '')} {added}".strip(),
        "FLAGS_BY_DEFAULT": json.dumps(dict.fromkeys(keys, False)),
        "FLAGS_FORCED": json.dumps({} if forced is None else dict.fromkeys(keys, forced)),
    }


def _patch(root: Path, result: bool | None) -> list[str]:  # noqa: FBT001
    """Resolves all flags, unless the result is None. Returns their keys."""
    files = searched_files([root])
    found = search_files(files)
    mine = [one for one in found.references if one.key and one.about == "flag"]
    keys = sorted({one.key for one in mine if one.key})
    if result is not None:
        made = patch(found, mine, dict.fromkeys(keys, result))
        # The paths of the patch begin at the root.
        subprocess.run(["git", "apply"], input=made.text, text=True, cwd="/", check=True)  # noqa: S607
    return keys


if __name__ == "__main__":
    sys.exit(main())
