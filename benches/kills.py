"""Kills beside other writes, as ratios to kills that wait for the write of their row only.

    python -m benches.kills           (beside a DATABASE_URL)

Another process turns a flag on by its page, imports 500 flags, undoes the import, or runs a waiting
action; each counts 1,000,000 users. It writes the flag that is killed, or other flags and then the
killed one by a statement of its own: the same work, of which a kill waits for one write only. Both
alternate, and the 99th percentiles are compared: exits with 1 above 1.2. The longest kill is
printed, too: few of thousands begin while the row is locked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Final

from benches._project import ADD_GUESTS, client_of, execute, set_up, start_django, superuser

USERS, ROWS, ROUNDS, SECONDS = 1_000_000, 500, 2, 30
MAX_RATIO: Final = 1.2
#: While the kills are measured.
MIN_WRITES = 1
#: The flag that is killed.
KILLED, OTHER = "killed", "other"
IMPORTED = [f"import_{number:03}" for number in range(ROWS - 1)]
WAYS = ("page", "job", "import", "undo")


def main() -> int:
    """Measures and prints; returns 1 if a ratio is too large."""
    set_up()
    execute(ADD_GUESTS, count=USERS)
    _add_flags()
    superuser()
    execute("VACUUM ANALYZE")
    ratios = {}
    for way in WAYS:
        seconds: dict[str, list[float]] = {KILLED: [], OTHER: []}
        for _ in range(ROUNDS):
            for written in seconds:
                seconds[written] += _kills_beside(way, written)
        own, others = (_percentile_99(taken) for taken in seconds.values())
        ratios[way] = own / others
        longest = (max(taken) * 1_000 for taken in seconds.values())
        figures = f"p99 {own * 1_000:.1f} ms, of one write {others * 1_000:.1f} ms"
        longest_text = ", of one write ".join(f"{taken:.1f} ms" for taken in longest)
        print(
            f"kill beside {way}: {figures}, ratio {ratios[way]:.2f}; longest {longest_text}",
            flush=True,
        )
    return int(max(ratios.values()) > MAX_RATIO)


def _add_flags() -> None:
    from flagstaff.models import FeatureFlag

    rules = [{"conditions": [{"attribute": "last_name", "operator": "in", "values": ["AT"]}]}]
    keys = [KILLED, OTHER, *IMPORTED]
    FeatureFlag.objects.bulk_create(
        [FeatureFlag(key=key, enabled=True, rollout_percent=5, rules=rules) for key in keys]
    )


def _percentile_99(taken: list[float]) -> float:
    return quantiles(taken, n=100)[98]


def _kills_beside(way: str, written: str) -> list[float]:
    """Returns the seconds of each kill while another process writes a flag in this way."""
    from flagstaff.changes import flags
    from flagstaff.models import Change

    rollouts = Change.objects.filter(key=written, new__has_key="rollout_percent")
    before = rollouts.count()
    command = [sys.executable, "-m", "benches.kills", way, written]
    taken = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        # Until it has begun.
        process.stdout.readline()  # type: ignore[union-attr]
        end = perf_counter() + SECONDS
        while (start := perf_counter()) < end:
            flags.disable(KILLED)
            taken.append(perf_counter() - start)
            flags.enable(KILLED)
        process.terminate()
    if rollouts.count() - before < MIN_WRITES:
        raise RuntimeError(f"{written} was not written by {way}")
    return taken


# The other process.


def write_forever(way: str, written: str) -> None:
    """Writes a flag in this way until the process is terminated."""
    start_django()
    with tempfile.TemporaryDirectory() as directory:
        write = _writers(Path(directory), written)[way]
        print("begins", flush=True)
        while True:
            write()
            if written != KILLED:
                execute(f"UPDATE flagstaff_featureflag SET description = '' WHERE key = '{KILLED}'")  # noqa: S608 (a constant)


def _writers(directory: Path, written: str) -> dict[str, Callable[[], object]]:
    from django.contrib.auth import get_user_model
    from django.db.models.functions import Now
    from django.utils.timezone import localtime

    from flagstaff.models import Change, FeatureFlag, WaitingAction

    client = client_of(get_user_model().objects.get(username="bench"))
    url = f"/admin/flagstaff/featureflag/{FeatureFlag.objects.get(key=written).pk}/rollout/"
    # At 0 %, nothing is counted.
    percents = cycle(range(1, 100))

    def by_page() -> None:
        data = {"percent": next(percents), "_reason": ""}
        shown = client.post(url, data)
        if context := getattr(shown, "context_data", None):
            client.post(url, {**data, "_confirmed": context["seal"]})

    def by_job() -> None:
        at = ("--as", "bench", "--at", f"{localtime() + timedelta(days=1):%Y-%m-%d %H:%M}")
        _flags("rollout", written, str(next(percents)), *at)
        WaitingAction.objects.update(run_at=Now())
        _flags("run-jobs")

    def by_import() -> None:
        fields = {"rollout_percent": next(percents)}
        rows = dict.fromkeys((written, *IMPORTED), fields)
        file = directory / "flags.json"
        file.write_text(json.dumps({"flagstaff": 1, "partial": True, "flags": rows}))
        _flags("import", str(file), "--yes")

    def by_undo() -> None:
        by_import()
        newest = Change.objects.filter(key=IMPORTED[0]).newest().first()
        _flags("undo-transaction", str(newest and newest.pk), "--yes")

    return {"page": by_page, "job": by_job, "import": by_import, "undo": by_undo}


def _flags(*arguments: str) -> None:
    from django.core.management import CommandError, call_command

    # The killed flag has changed meanwhile.
    with suppress(CommandError):
        call_command("flags", *arguments, stdout=StringIO(), stderr=StringIO())


if __name__ == "__main__":
    if sys.argv[1:]:
        write_forever(*sys.argv[1:])
    sys.exit(main())
