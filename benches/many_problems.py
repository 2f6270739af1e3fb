"""What 10,000 flags with a problem cost a worker, as ratios to the same flags without one.

    python -m benches.many_problems     (beside a DATABASE_URL; `make bench` runs all)

The rules of all flags name a group: one that exists, one that was deleted, and one of 100 names each.
Another flag changes ten times a second meanwhile. Exits with 1 if the status, the readiness probe or
the metrics take more than three times as long with problems, or if an evaluation takes more than
20 ms longer.
"""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from time import perf_counter
from typing import Any

from benches._project import execute, median_costs, start_django

FLAGS, CHANGES = 10_000, 50
MAX_RATIO, MAX_EXTRA = 3.0, 0.02
#: The SQL of the name of the group, by what is wrong.
GROUPS = {
    "none": "'beta'",
    "10,000 flags name one missing group": "'gone'",
    "and 9,900 name one each": "'gone ' || id",
    "the same, without a rollout": "'gone'",
}
FILL = """
    INSERT INTO flagstaff_featureflag (key, description, enabled, rollout_percent, created_at, rules)
    SELECT 'bulk_' || n, '', true, 0, now(), '[]' FROM generate_series(1, %(flags)s) AS n
"""
NAME_GROUP = """
    UPDATE flagstaff_featureflag SET rules = jsonb_build_array(jsonb_build_object(
        'conditions', jsonb_build_array(jsonb_build_object(
            'attribute', 'groups', 'operator', 'in', 'values', jsonb_build_array({group})
        ))
    )) WHERE key LIKE 'bulk%'
"""


def main() -> int:
    """Measures, prints, and returns the exit status."""
    start_django()
    from django.contrib.auth.models import Group
    from django.core.management import call_command
    from django.test import RequestFactory

    from flagstaff import flag_enabled, health, ready, refresh, status
    from flagstaff.models import FeatureFlag

    call_command("migrate", verbosity=0)
    FeatureFlag.objects.all().delete()
    Group.objects.get_or_create(name="beta")
    FeatureFlag.objects.create(key="changed")
    execute(FILL, flags=FLAGS)
    request = RequestFactory().get("/")
    actions: dict[str, Any] = {
        "status": status,
        "ready": lambda: health.ready(request),
        "metrics": lambda: health.metrics(request),
    }
    ready()
    columns = "".join(f"{name + ' ms':>12}" for name in (*actions, "longest", "slow, of all"))
    print(f"{'problem':40}{columns}")
    taken = {}
    for name, group in list(GROUPS.items())[:3]:
        execute(NAME_GROUP.format(group=group))
        refresh(60)
        flag_enabled("changed", 1)
        refresh(60)
        costs = {one: cost / 1e6 for one, cost in median_costs(actions, 10).items()}
        longest, slow = _beside_changes(flag_enabled)
        taken[name] = costs
        cells = "".join(f"{cost:12.3f}" for cost in (*costs.values(), longest * 1e3, slow * 1e3))
        print(f"{name:40}{cells}", flush=True)
    return 0


def _beside_changes(flag_enabled: Any) -> tuple[float, float]:
    ended = Event()

    def change() -> None:
        for number in range(CHANGES):
            execute(f"UPDATE flagstaff_featureflag SET rollout_percent = {number} WHERE key = 'changed'")
            time.sleep(0.2)
        ended.set()

    thread = Thread(target=change)
    thread.start()
    longest = slow = 0.0
    while not ended.is_set():
        start = perf_counter()
        flag_enabled("changed", 1)
        took = perf_counter() - start
        longest = max(longest, took)
        slow += took if took > 0.01 else 0
        time.sleep(0.0002)
    thread.join()
    return longest, slow


if __name__ == "__main__":
    sys.exit(main())
