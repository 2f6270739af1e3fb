"""The instructions of an evaluation, counted by valgrind's callgrind.

    python -m benches.instructions        (beside a DATABASE_URL; needs valgrind)

On a shared machine, durations are noisy and instructions are not. A count covers the extension's
functions from entry to exit. valgrind has no SHA instructions: with a hash, some 3,400 instructions
are their emulation. All evaluations run in one process, because Python's start takes most of the
time.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benches._project import add_members, count_instructions, set_up, start_django
from benches.evaluation import evaluations

TIMES = 20_000
# Counting is on inside these functions only: the start of the engine would be counted too.
COUNTED = (
    "__pyfunction_flag_enabled",
    "__pyfunction_get_value",
    "__pyfunction_get_variant",
    "__pyfunction_resolve_flag",
    "__pymethod_enabled__",
    "__pymethod_get__",
)


def main() -> int:
    """Counts and prints; in the counted process, evaluates."""
    if len(sys.argv) > 1:
        _evaluate(Path(sys.argv[1]))
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    set_up()
    add_members()
    options = [f"--toggle-collect=*{function}*" for function in COUNTED]
    with tempfile.NamedTemporaryFile("w+") as file:
        counts = count_instructions(options, "instructions", file.name)
        names = file.read().splitlines()
    # Loads wait for the engine by the separator, too. The last counts are those of evaluations.
    for name, count in zip(names, counts[-len(names) :], strict=True):
        if not count:
            raise RuntimeError(f"{name}: none of the counted functions was called")
        print(f"{name:36}{count / TIMES:8.0f} instructions")
    return 0


def _evaluate(names: Path) -> None:
    start_django()
    from flagstaff import _core

    functions = evaluations()
    for function in functions.values():
        function()
    report = _core.status_report()
    # One evaluation a second logs it, and it costs as much as a thousand of the others.
    vars(_core)["status_report"] = lambda: report
    for function in functions.values():
        _core.is_waiting()
        for _ in range(TIMES):
            function()
    _core.is_waiting()
    names.write_text("\n".join(functions))
    # Skips the shutdown of interpreter and engine, which varies.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
