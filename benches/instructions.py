"""How many instructions a question takes, counted by valgrind's callgrind.

    python -m benches.instructions        (beside a DATABASE_URL; needs valgrind)

Nanoseconds drown in the noise of a shared machine, instructions do not: the same build and Python
give the same count. Counted is what happens between entering the extension's function and leaving
it. valgrind knows no SHA instructions: where a hash is made, some 3,400 are its emulation.
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

from benches._project import set_up

TIMES = 20_000
# The extension's functions, in which counting is on.
COUNTED = "*__pyfunction_*"
QUESTIONS = (
    "flag_enabled, 50 %",
    "flag_enabled, 50 %, request.user",
    "flag_enabled, everyone",
    "get_value, short text",
)
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Count and print; or, in the process that is counted, ask."""
    if len(sys.argv) > 1:
        return _ask(sys.argv[1])
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    set_up()
    for question in QUESTIONS:
        print(f"{question:36}{_count(question) / TIMES:8.0f} instructions", flush=True)
    return 0


def _count(question: str) -> int:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "callgrind.out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={COUNTED}"]
        command += [sys.executable, "-m", "benches.instructions", question]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("callgrind gave no count")
    return int(found[1])


def _ask(question: str) -> int:
    import django  # noqa: PLC0415

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.utils.functional import SimpleLazyObject  # noqa: PLC0415

    from flagstaff import flag_enabled, get_value, ready  # noqa: PLC0415

    user: Any = get_user_model().objects.first()
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.pk == user.pk  # noqa: S101 (evaluates it, as a request's first use does)
    assert ready(60)  # noqa: S101
    ask, arguments = {
        QUESTIONS[0]: (flag_enabled, ("flag_7", user)),
        QUESTIONS[1]: (flag_enabled, ("flag_7", lazy)),
        QUESTIONS[2]: (flag_enabled, ("everyone", user)),
        QUESTIONS[3]: (get_value, ("gateway", None)),
    }[question]
    first, second = arguments
    for _ in range(TIMES):
        ask(first, second)
    # Without the farewells of interpreter and engine, which vary.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
