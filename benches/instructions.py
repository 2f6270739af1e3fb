"""The instructions of an evaluation, counted by valgrind's callgrind.

    python -m benches.instructions        (beside a DATABASE_URL; needs valgrind)

On a shared machine, durations are noisy and instructions are not: the same build and Python give
the same count. The count covers the extension's function from entry to exit. valgrind has no SHA
instructions: with a hash, some 3,400 instructions are their emulation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches._project import outside, set_up

TIMES = 20_000
# Counting is on inside the evaluated function only: the start of the engine would be counted too.
COUNTED = "*__pyfunction_{function}*"
EVALUATIONS = (
    "flag_enabled, 50 %",
    "flag_enabled, 50 %, request.user",
    "flag_enabled, everyone",
    "flag_enabled, allowed user",
    "flag_enabled, unknown key",
    "get_value, short text",
)
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Counts and prints; in the counted process, evaluates."""
    if len(sys.argv) > 1:
        return _evaluate(sys.argv[1])
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    set_up()
    for name in EVALUATIONS:
        print(f"{name:36}{_count(name) / TIMES:8.0f} instructions", flush=True)
    return 0


def _count(name: str) -> int:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "callgrind.out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={COUNTED.format(function=name.partition(',')[0])}"]
        command += [sys.executable, "-m", "benches.instructions", name]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("callgrind gave no count")
    return int(found[1])


def _evaluate(name: str) -> int:
    import django  # noqa: PLC0415

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.utils.functional import SimpleLazyObject  # noqa: PLC0415

    from flagstaff import flag_enabled, get_value, ready  # noqa: PLC0415

    user: Any = get_user_model().objects.first()
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.pk == user.pk  # noqa: S101 (evaluates it, as a request's first use does)
    assert ready(60)  # noqa: S101
    function, arguments = {
        EVALUATIONS[0]: (flag_enabled, ("flag_7", user)),
        EVALUATIONS[1]: (flag_enabled, ("flag_7", lazy)),
        EVALUATIONS[2]: (flag_enabled, ("everyone", user)),
        EVALUATIONS[3]: (flag_enabled, ("listed", outside("listed"))),
        EVALUATIONS[4]: (flag_enabled, ("unknown", user)),
        EVALUATIONS[5]: (get_value, ("gateway", None)),
    }[name]
    first, second = arguments
    for _ in range(TIMES):
        function(first, second)
    # Skips the shutdown of interpreter and engine, which varies.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
