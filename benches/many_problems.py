"""What 10,000 flags with a problem cost a worker, as ratios to the same flags without one.

    python -m benches.many_problems     (beside a DATABASE_URL; `make bench` runs all)

The rules of all flags name a group that exists, one that does not, or a missing one each; or they
cannot be read. Another flag changes five times a second meanwhile. Exits with 1 if the status, the
readiness probe or the metrics take more than three times as long with problems, or if an evaluation
takes more than a tenth of a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from time import perf_counter

from benches._project import execute, median_costs, start_django

FLAGS, CHANGES, PAUSE = 10_000, 50, 0.2
ROUNDS, MAX_RATIO, MAX_SECONDS = 20, 3.0, 0.1
LOAD_TIMEOUT = 60.0
#: Between two evaluations, in seconds.
IDLE = 0.0002
FILL = """
    INSERT INTO flagstaff_featureflag
        (key, description, enabled, rollout_percent, created_at, rules)
    SELECT 'bulk_' || n, '', true, 0, now(), '[]' FROM generate_series(1, %(flags)s) AS n
"""
_NAMING = """
    jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object(
        'attribute', 'groups', 'operator', 'in', 'values', jsonb_build_array({group})
    ))))
"""
#: The SQL of the rules of all flags, by what is wrong.
RULES = {
    "nothing": _NAMING.format(group="'beta'"),
    "all name one missing group": _NAMING.format(group="'gone'"),
    "each names another missing group": _NAMING.format(group="'gone ' || id"),
    "rules that cannot be read": "'{}'",
}
SET_RULES = "UPDATE flagstaff_featureflag SET rules = {rules} WHERE key <> 'changed'"
CHANGE = """
    UPDATE flagstaff_featureflag SET rollout_percent = 100 - rollout_percent WHERE key = 'changed'
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
    actions = {
        "status": status,
        "ready": lambda: health.ready(request),
        "metrics": lambda: health.metrics(request),
    }
    ready(LOAD_TIMEOUT)
    print(f"{FLAGS:,} flags, in milliseconds")
    print(f"  {'problem':34}" + "".join(f"{name:>12}" for name in (*actions, "longest")))
    taken, longest = {}, {}
    for name, rules in RULES.items():
        execute(SET_RULES.format(rules=rules))
        refresh(LOAD_TIMEOUT)
        # The first evaluation logs the problems.
        flag_enabled("changed", 1)
        taken[name] = median_costs(actions, ROUNDS)
        longest[name] = _longest(lambda: flag_enabled("changed", 1))
        columns = [cost / 1e6 for cost in taken[name].values()] + [longest[name] * 1e3]
        print(f"  {name:34}" + "".join(f"{column:12.3f}" for column in columns), flush=True)
    [without, *others] = taken.values()
    ratio = max(cost / without[name] for costs in others for name, cost in costs.items())
    print(f"  highest ratio {ratio:.2f}")
    return int(ratio > MAX_RATIO or max(longest.values()) > MAX_SECONDS)


def _longest(evaluate: Callable[[], object]) -> float:
    """Returns the seconds of the longest evaluation beside changes of a flag."""
    ended = Event()

    def change() -> None:
        from django.db import connection

        for _ in range(CHANGES):
            execute(CHANGE)
            time.sleep(PAUSE)
        connection.close()
        ended.set()

    thread = Thread(target=change)
    thread.start()
    longest = 0.0
    while not ended.is_set():
        start = perf_counter()
        evaluate()
        longest = max(longest, perf_counter() - start)
        time.sleep(IDLE)
    thread.join()
    return longest


if __name__ == "__main__":
    sys.exit(main())
