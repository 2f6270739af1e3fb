"""Pages and commands that read the history, at a million entries, as ratios to an empty history.

    python -m benches.growing_history     (beside a DATABASE_URL; `make bench` runs all)

There are 10,000 flags, and each of 100 transactions has changed all of them: descriptions, rollouts
of disabled flags, and flags that are turned on and off. The same pages are opened with this
history and without one; those that list changes, with the last transaction alone.
Exits with 1 if one takes more than twice as long, or a page of a flag's history more than half a
second.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from io import StringIO
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

from benches._project import (
    client_of,
    disable_triggers,
    enable_triggers,
    execute,
    open_page,
    set_up,
    superuser,
)

FLAGS, UPDATES = 10_000, 100
ROUNDS, MAX_RATIO, MAX_SECONDS = 5, 2.0, 0.5
CSV_ROWS = 5_000
PREFIX = "/admin/flagstaff/"
HISTORY = "page of a flag's history"
# Without a history, they would have no row. They are compared with the last transaction alone.
WITH_ROWS = ("Recent changes", "CSV of Recent changes, first byte", "CSV of Recent changes, a row")
# A third of the flags gets other descriptions, other rollouts while it is disabled, or is turned on
# and off. The newest entry has the state of the flag.
CHANGED = """CASE mod(f.id, 3)
    WHEN 0 THEN jsonb_build_object('description', 'Version ' || {version})
    WHEN 1 THEN jsonb_build_object('rollout_percent', {version})
    ELSE jsonb_build_object('enabled', mod({version}, 2) = 0)
END"""
FILL = (
    """
    INSERT INTO flagstaff_featureflag (key, description, enabled, rollout_percent, created_at)
    SELECT 'bulk_' || n, 'Version 100', true, 100, now() - interval '17 days'
    FROM generate_series(1, %(flags)s) AS n
    """,
    "UPDATE flagstaff_featureflag SET enabled = mod(id, 3) <> 1, changed_at = created_at",
)
ENTRIES = """
    INSERT INTO flagstaff_change
        (at, transaction_id, relation, object_pk, key, action, old, new, object_table)
    SELECT
        now() - interval '4 hours' * (%(updates)s - n), 1000 + n, 'f', f.id, f.key,
        CASE WHEN n = 0 THEN 'insert' ELSE 'update' END,
        CASE WHEN n > 0 THEN to_jsonb(f) || {old} END,
        to_jsonb(f) || {new},
        'flagstaff_featureflag'::regclass
    FROM generate_series(%(first)s::int8, %(updates)s) AS n, flagstaff_featureflag AS f
    ORDER BY n, f.key
""".format(old=CHANGED.format(version="(n - 1)"), new=CHANGED.format(version="n"))


def main() -> int:
    """Measures, prints, and returns the exit status."""
    set_up()
    pages = _pages()
    disable_triggers("flagstaff_featureflag")
    execute(*FILL, flags=FLAGS)
    enable_triggers("flagstaff_featureflag")
    sizes = {"full": 0, "small": UPDATES, "empty": None}
    taken = {name: _measure(pages, first) for name, first in sizes.items()}
    ratios = []
    print(
        f"{FLAGS:,} flags, {FLAGS * (UPDATES + 1):,} entries beside none or 10,000, in milliseconds"
    )
    for name in pages:
        full, before = taken["full"][name], taken["small" if name in WITH_ROWS else "empty"][name]
        ratios.append(full / before)
        print(f"  {name:34} {full:9.2f} {before:9.2f}   ratio {full / before:.2f}")
    # Without a history, this page has nothing to show.
    is_slow = taken["full"][HISTORY] > MAX_SECONDS * 1e3
    others = [ratio for ratio, name in zip(ratios, pages, strict=True) if name != HISTORY]
    return int(is_slow or max(others) > MAX_RATIO)


def _measure(pages: dict[str, Callable[[], float]], first: int | None) -> dict[str, float]:
    """Fills the history with the updates from the first one on. Returns medians."""
    execute("TRUNCATE flagstaff_change")
    if first is not None:
        execute(ENTRIES, first=first, updates=UPDATES)
    execute("VACUUM ANALYZE")
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for round_number in range(ROUNDS + 1):
        for name, measure in pages.items():
            # The first round fills the caches.
            taken[name] += [measure() * 1e3][:round_number]
    return {name: median(times) for name, times in taken.items()}


def _pages() -> dict[str, Callable[[], float]]:
    """Returns functions that measure, in seconds, by name."""
    client = client_of(superuser())
    changes = f"{PREFIX}featureflag/changes/"
    return {
        "list of flags": partial(_open, client, f"{PREFIX}featureflag/"),
        "stale flags": partial(_open, client, "/admin/flagstaff/featureflag/stale/"),
        "manage.py flags stale": _list_stale,
        "Recent changes": partial(_open, client, changes),
        HISTORY: lambda: _open(client, f"{PREFIX}featureflag/{_pk()}/history/"),
        "CSV of Recent changes, first byte": partial(_first_byte, client, f"{changes}?format=csv"),
        "CSV of Recent changes, a row": partial(_row, client, f"{changes}?format=csv"),
    }


def _pk() -> object:
    from flagstaff.models import FeatureFlag

    return FeatureFlag.objects.get(key="bulk_9").pk


def _open(client: Any, url: str) -> float:
    start = perf_counter()
    open_page(client, url)
    return perf_counter() - start


def _first_byte(client: Any, url: str) -> float:
    start = perf_counter()
    next(iter(client.get(url)))
    return perf_counter() - start


def _row(client: Any, url: str) -> float:
    """Returns the time of a row among the first ones, or 0 without rows."""
    rows = iter(client.get(url))
    next(rows)
    start = perf_counter()
    count = sum(1 for _ in islice(rows, CSV_ROWS))
    return (perf_counter() - start) / max(count, 1)


def _list_stale() -> float:
    from django.core.management import call_command

    start = perf_counter()
    call_command("flags", "stale", stdout=StringIO(), stderr=StringIO())
    return perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
