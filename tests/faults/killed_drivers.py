"""A process that runs ten drivers of rollout plans at once, again and again, and kills some.

It prints how many drivers it killed. Arguments: the number of repeats, the seed of the random
numbers.
"""

import random
import sys
import time

import django

from tests.faults.killing import run_and_kill
from tools.limits import seconds

DRIVERS = 10
TIMEOUT = 10.0
# Seconds after which a driver is killed. A run takes about 20 ms, and longer beside nine others.
MAX_DELAY = 0.12
STEPS = [f"{percent}:1h" for percent in range(1, 100)]


def main() -> None:
    repeats, seed = int(sys.argv[1]), int(sys.argv[2])
    chance, killed = random.Random(seed), 0
    create_plan()
    for _ in range(repeats):
        before = plan_of(KEY).step or 0
        # Lets the present step pass, and ends its dwell time.
        for inside in (True, False):
            see(run_of(KEY), inside=inside, users=5)
        end_dwell_time(KEY)
        connection.close()
        killed += run_and_kill(run_plans, DRIVERS, DRIVERS // 2, MAX_DELAY, chance)
        run_until_done(before)
        check_one_step(before)
        if before + 2 == len(STEPS):
            Plan.objects.all().delete()
            FeatureFlag.objects.all().delete()
            create_plan()
    print(killed)


def run_until_done(before: int) -> None:
    """Runs a driver until the work is done: the session of a killed one may still hold the plan."""
    deadline = time.monotonic() + seconds(TIMEOUT)
    while True:
        run_plans()
        if plan_of(KEY).step != before or time.monotonic() > deadline:
            # One more run, which must find nothing to do.
            run_plans()
            return
        time.sleep(0.005)


def check_one_step(before: int) -> None:
    plan, steps = plan_of(KEY), before + 1
    assert (plan.step, rollout(KEY), events(KEY).count("step")) == (steps, steps + 1, steps)
    runs = StepRun.objects.filter(plan=plan)
    assert (runs.count(), runs.filter(ended_at=None).count()) == (steps + 2, 1)
    changes = Change.objects.filter(relation="f", action="update", id__gt=_first_entry)
    assert changes.count() == 1 + steps


def create_plan() -> None:
    global _first_entry  # noqa: PLW0603 (the history of the present plan begins here)
    make_flag(KEY)
    _first_entry = Change.objects.latest("id").pk
    drive_recently()
    register_worker("measurements", interval=3600)
    rollouts.start(KEY, STEPS, required_users=1)


_first_entry = 0

if __name__ == "__main__":
    django.setup()
    from django.db import connection

    from flagstaff import rollouts
    from flagstaff.models import Change, FeatureFlag
    from flagstaff.rollouts.driver import run_plans
    from flagstaff.rollouts.models import Plan, StepRun
    from tests.support.plans import (
        KEY,
        drive_recently,
        end_dwell_time,
        events,
        make_flag,
        plan_of,
        rollout,
        run_of,
        see,
    )
    from tests.support.reports import register_worker

    main()
