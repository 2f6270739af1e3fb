"""The instructions of an evaluation, counted by valgrind's callgrind.

    python -m benches.instructions        (beside a DATABASE_URL; needs valgrind)

On a shared machine, durations are noisy and instructions are not. Hashes are seeded per process, so
the smallest counts vary by 5 % between runs of the same build: compare the lowest of several. A
count covers the extension's function from entry to exit. valgrind has no SHA instructions: with a
hash, some 3,400 instructions are their emulation. All evaluations run in one process, because
Python's start takes most of the time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from benches._project import EXPERIMENT, add_members, outside, set_up, start_django

TIMES = 20_000
# Counting is on inside these functions only: the start of the engine would be counted too.
COUNTED = ("flag_enabled", "get_value", "get_variant")
# A call of this function writes the counts since the one before into a file of their own.
SEPARATOR = "is_waiting"
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Counts and prints; in the counted process, evaluates."""
    if len(sys.argv) > 1:
        return _evaluate(Path(sys.argv[1]))
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    set_up()
    add_members()
    with tempfile.TemporaryDirectory() as directory:
        for name, instructions in _count(Path(directory)):
            print(f"{name:36}{instructions / TIMES:8.0f} instructions")
    return 0


def _count(directory: Path) -> Iterator[tuple[str, int]]:
    """Returns the name and the instructions of each evaluation."""
    out, names = directory / "callgrind.out", directory / "names"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    command += [f"--toggle-collect=*__pyfunction_{function}*" for function in COUNTED]
    command += [f"--dump-before=*__pyfunction_{SEPARATOR}*"]
    command += [sys.executable, "-m", "benches.instructions", str(names)]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    # Loads wait for the engine by the separator, too. The last files have the evaluations.
    numbers = sorted(int(file.suffix[1:]) for file in directory.glob(f"{out.name}.*"))
    evaluations = names.read_text().splitlines()
    for number, name in zip(numbers[-len(evaluations) :], evaluations, strict=True):
        found = re.search(
            r"^(?:summary|totals): (\d+)", Path(f"{out}.{number}").read_text(), re.MULTILINE
        )
        if found is None:
            raise RuntimeError("callgrind gave no count")
        yield name, int(found[1])


def _evaluate(names: Path) -> int:
    start_django()
    from flagstaff import _core  # noqa: PLC0415 (after set-up)

    evaluations = _evaluations()
    for evaluate in evaluations.values():
        evaluate()
    for evaluate in evaluations.values():
        _core.is_waiting()
        for _ in range(TIMES):
            evaluate()
    _core.is_waiting()
    names.write_text("\n".join(evaluations))
    # Skips the shutdown of interpreter and engine, which varies.
    os._exit(0)


def _evaluations() -> dict[str, Callable[[], object]]:
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.utils.functional import SimpleLazyObject  # noqa: PLC0415

    from flagstaff import flag_enabled, get_value, ready  # noqa: PLC0415
    from flagstaff.experiments import get_variant  # noqa: PLC0415

    user: Any = get_user_model().objects.first()
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.pk == user.pk  # noqa: S101 (evaluates it, as a request's first use does)
    assert ready(60)  # noqa: S101
    assert get_variant(EXPERIMENT, user) is not None  # noqa: S101
    listed, country, users = outside("listed"), {"country": "AT"}, count(1)
    assert flag_enabled("rule_context", user, context=country)  # noqa: S101
    assert flag_enabled("rule_column", user)  # noqa: S101
    assert flag_enabled("rule_staff", user)  # noqa: S101
    assert flag_enabled("rule_group", user)  # noqa: S101
    return {
        "flag_enabled, 50 %": lambda: flag_enabled("flag_7", user),
        "flag_enabled, 50 %, request.user": lambda: flag_enabled("flag_7", lazy),
        "flag_enabled, everyone": lambda: flag_enabled("everyone", user),
        "flag_enabled, allowed user": lambda: flag_enabled("listed", listed),
        "flag_enabled, unknown key": lambda: flag_enabled("unknown", user),
        "get_value, short text": lambda: get_value("gateway", None),
        "get_value, short text, with a user": lambda: get_value("gateway", None, user=user),
        "get_value, rule on the context": lambda: get_value(
            "value_context", None, user=user, context=country
        ),
        "get_value, rule on is_staff": lambda: get_value("value_staff", None, user=user),
        "flag_enabled, rule on the context": lambda: flag_enabled(
            "rule_context", user, context=country
        ),
        "flag_enabled, rule on a column": lambda: flag_enabled("rule_column", user),
        "flag_enabled, rule on is_staff": lambda: flag_enabled("rule_staff", user),
        "flag_enabled, rule on a group": lambda: flag_enabled("rule_group", user),
        "flag_enabled, 50 % by country": lambda: flag_enabled("by_country", user, context=country),
        "get_variant": lambda: get_variant(EXPERIMENT, user),
        "get_variant, request.user": lambda: get_variant(EXPERIMENT, lazy),
        "get_variant, unknown key": lambda: get_variant("unknown", user),
        "get_variant, a new user each time": lambda: get_variant(EXPERIMENT, next(users)),
    }


if __name__ == "__main__":
    sys.exit(main())
