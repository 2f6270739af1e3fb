"""The memory of a process with 10,000 flags, over a process with Django alone.

    python -m benches.memory          (beside a DATABASE_URL; `make bench` runs all)

Each figure is the median of several processes, of memory that is resident (RSS) and of the part of
it that no other process shares. Needs Linux's /proc. The floor keeps the same flags in a map of the
extension `floor`, which it reads over Django's connection.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benches._floor import floor
from benches._project import add_flags, run_bench, set_up

FLAGS, PROCESSES, CHANGES = 10_000, 5, 20
MIB = 1024
SMAPS = Path("/proc/self/smaps_rollup")
# Where a process stands when its memory is read.
ALONE, FLOOR, INSTALLED, LOADED, CHANGED = (
    "Django alone",
    "floor",
    "flagstaff installed",
    f"{FLAGS:,} flags loaded",
    f"the same after {CHANGES} changes",
)


def main() -> int:
    """Measures and prints; in a measured process, measures itself."""
    if len(sys.argv) > 1:
        return _measure(sys.argv[1])
    if not SMAPS.exists():
        print("the memory of a process can be read on Linux only", file=sys.stderr)
        return 0
    set_up()
    add_flags(FLAGS)
    floor()
    figures: dict[str, list[tuple[int, int]]] = {}
    for _ in range(PROCESSES):
        for kind in (ALONE, FLOOR, LOADED):
            for line in run_bench("memory", kind).splitlines():
                name, rss, private = line.split("\t")
                figures.setdefault(name, []).append((int(rss), int(private)))
    _print(figures)
    return 0


def _print(figures: dict[str, list[tuple[int, int]]]) -> None:
    print(f"{'MiB over Django alone':36}{'RSS':>10}{'private':>10}")
    bare = [median(column) for column in zip(*figures.pop(ALONE), strict=True)]
    for name, taken in figures.items():
        columns = zip(zip(*taken, strict=True), bare, strict=True)
        rss, private = ((median(column) - alone) / MIB for column, alone in columns)
        print(f"{name:36}{rss:10.1f}{private:10.1f}")


def _measure(kind: str) -> int:
    import django
    from django.conf import settings

    if kind != LOADED:
        settings.INSTALLED_APPS = [
            app for app in settings.INSTALLED_APPS if app.startswith("django.")
        ]
    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import connection

    users: Any = get_user_model()
    users.objects.first()
    if kind == LOADED:
        _show(INSTALLED)
        _load()
    elif kind == FLOOR:
        base = floor()
        with connection.cursor() as cursor:
            cursor.execute("SELECT key, enabled, rollout_percent FROM flagstaff_featureflag")
            base.fill(cursor.fetchall(), {}, {})
        _show(FLOOR)
    else:
        _show(ALONE)
    return 0


def _load() -> None:
    from flagstaff import flag_enabled, ready
    from flagstaff.models import FeatureFlag

    assert ready(30)  # noqa: S101
    assert flag_enabled("everyone")  # noqa: S101
    _show(LOADED)
    for change in range(CHANGES):
        enabled = change % 2 == 1
        FeatureFlag.objects.filter(key="everyone").update(enabled=enabled)
        while flag_enabled("everyone") is not enabled:
            time.sleep(0.01)
    _show(CHANGED)


def _show(name: str) -> None:
    gc.collect()
    sizes = {}
    for line in SMAPS.read_text().splitlines()[1:]:
        field, size, *_ = line.split()
        sizes[field.rstrip(":")] = int(size)
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    print(name, sizes["Rss"], private, sep="\t", flush=True)


if __name__ == "__main__":
    sys.exit(main())
