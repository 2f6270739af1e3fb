"""The report of a run, and what one suite catches and another does not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["compare", "report"]

CAUGHT = {"caught", "hung"}
CONTROL = "(control)"


def report(results: list[dict[str, Any]]) -> str:
    """Returns the survivors, the lines that no test reaches in its process, and a line per room."""
    named = [one for one in results if (one["result"] in CAUGHT) == (one["room"] == CONTROL)]
    lines = [f"{one['result']}: {one['name']}" for one in named]
    rooms = sorted({one["room"] for one in results})
    lines += [_line(room, [one for one in results if one["room"] == room]) for room in rooms]
    return "\n".join([*lines, _line("total", [one for one in results if one["room"] != CONTROL])])


def _line(name: str, results: list[dict[str, Any]]) -> str:
    counts = Counter(one["result"] for one in results)
    caught = sum(counts[result] for result in CAUGHT)
    rest = ", ".join(f"{number} {result}" for result, number in sorted(counts.items()))
    return f"{name:16} {caught:4} of {len(results):4} {100 * caught / len(results):6.1f} %  {rest}"


def _counts(one: dict[str, Any]) -> bool:
    return one["result"] in CAUGHT and one["room"] != CONTROL


def compare(old: Path, new: Path) -> int:
    """Prints what only the old run caught. Returns 1 if it caught more than 3 % more."""
    before = {one["name"]: one for one in json.loads(old.read_text())}
    after = {one["name"]: one for one in json.loads(new.read_text())}
    caught = [name for name, one in before.items() if _counts(one)]
    lost = [name for name in caught if after[name]["result"] not in CAUGHT]
    print("\n".join(f"lost: {name} ({', '.join(before[name]['by'])})" for name in lost))
    kept = 100 * (1 - len(lost) / len(caught))
    print(
        f"{len(caught) - len(lost)} of {len(caught)} caught mutants are still caught: {kept:.1f} %"
    )
    return 0 if kept >= 97 else 1  # noqa: PLR2004 (documented)
