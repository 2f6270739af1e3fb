"""A process that runs waiting actions in several others, and kills these again and again.

It changes some of the rows meanwhile. Or else further processes write to them what decides nothing,
so that all actions run. It prints how many processes it killed, how often the others have written,
and what became of the actions. Arguments: the number of actions, of jobs and of writers.
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from functools import partial
from threading import Event

import django

from tests.faults.killing import run_and_kill, running_beside


def main() -> None:
    number, jobs, writers = map(int, sys.argv[1:])
    prepare(number)
    connection.close()
    with running_beside(partial(write, number), writers):
        killed = run_jobs(number, jobs, changed=0 if writers else max(1, number // 200))
    written = Change.objects.filter(relation="f", new__has_key="owner").count()
    states = [*WaitingAction.objects.order_by("id").values_list("state", flat=True)]
    assert len(states) == number
    for waiting in WaitingAction.objects.all():
        check(waiting)
    print(killed, written, states.count("done"), states.count("failed"))


def run_jobs(number: int, jobs: int, changed: int) -> int:
    """Runs and kills jobs until nothing waits, and returns how many were killed.

    Changes so many rows before each time.
    """
    chance, killed = random.Random(1), 0
    # Seconds in which a process is killed, more if the machine is too busy for an action in them.
    longest, left = 0.1, number
    while left:
        for flag in chance.sample(range(number), changed):
            FeatureFlag.objects.filter(key=f"waits_{flag}").update(bucket_by=f"unit_{killed}")
        connection.close()
        killed += run_and_kill(lambda: run_due(Event()), jobs, jobs, longest, chance)
        before, left = left, WaitingAction.objects.filter(state="waiting").count()
        longest *= 1.5 if before == left else 1
    return killed


def write(number: int, seed: int) -> None:
    """Writes until it is killed."""
    chance = random.Random(seed)
    # Not all the time: the jobs need the processors, too.
    while not Event().wait(0.1):
        key = f"waits_{chance.randrange(number)}"
        changes.flags.update(key, owner=f"team {chance.randrange(10**6)}")


def prepare(number: int) -> None:
    """Creates flags, and for each of them an action that is due."""
    ana = User.objects.create_superuser("ana")
    flags = [FeatureFlag(key=f"waits_{index}", enabled=True) for index in range(number)]
    action = next(action for action in all_actions(Kind.FLAG) if action.name == "rollout")
    with acting_as(ana):
        for flag in FeatureFlag.objects.bulk_create(flags):
            run = Run(action, [flag.key], [flag], {"percent": 50})
            ask(run, look_at(run), timezone.now() + timedelta(1))
    WaitingAction.objects.update(run_at=Now())


def check(waiting: WaitingAction) -> None:
    """An action has written once, or was refused because of an entry of somebody else."""
    flag = FeatureFlag.objects.get(key=waiting.keys[0])
    entries = Change.objects.filter(relation="f", object_pk=flag.pk)
    own = [*entries.filter(source=f"waiting {waiting.pk}").values_list("pk", flat=True)]
    if waiting.state == "done":
        assert (own, flag.rollout_percent) == (waiting.entries, 50), waiting.pk
        assert len(own) == 1, waiting.pk
        return
    assert waiting.state == "failed", (waiting.pk, waiting.state)
    assert (own, waiting.entries, flag.rollout_percent) == ([], [], 0), waiting.pk
    assert f"changed bucketing unit of {flag.key} at " in waiting.result, waiting.result
    [newest] = entries.order_by("-pk").values_list("pk", flat=True)[:1]
    assert newest > waiting.stands_on[0]["version"], waiting.pk


if __name__ == "__main__":
    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection
    from django.db.models.functions import Now
    from django.utils import timezone

    from flagstaff import acting_as, changes
    from flagstaff._tables.rows import Kind
    from flagstaff.actions import all_actions
    from flagstaff.actions.commit import look_at
    from flagstaff.actions.table import Run
    from flagstaff.models import Change, FeatureFlag, WaitingAction
    from flagstaff.waiting.actions import ask
    from flagstaff.waiting.running import run_due

    main()
