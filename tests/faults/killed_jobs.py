"""A process that runs waiting actions in three others, and kills these again and again.

It changes some of the rows meanwhile, and prints how many processes it killed and what became of
the actions. Arguments: the number of actions, the seed of the random numbers.
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from threading import Event

import django

from tests.faults.killing import run_and_kill

PROCESSES = 3


def main() -> None:
    number, chance, killed = int(sys.argv[1]), random.Random(int(sys.argv[2])), 0
    prepare(number)
    # Seconds in which a process is killed, more if the machine is too busy for an action in them.
    longest, left = 0.2, number
    while left:
        for flag in chance.sample(range(number), max(1, number // 200)):
            FeatureFlag.objects.filter(key=f"waits_{flag}").update(bucket_by=f"unit_{killed}")
        connection.close()
        killed += run_and_kill(lambda: run_due(Event()), PROCESSES, PROCESSES, longest, chance)
        before, left = left, WaitingAction.objects.filter(state="waiting").count()
        longest *= 1.5 if before == left else 1
    states = [*WaitingAction.objects.order_by("id").values_list("state", flat=True)]
    assert len(states) == number
    for waiting in WaitingAction.objects.all():
        check(waiting)
    print(killed, states.count("done"), states.count("failed"))


def prepare(number: int) -> None:
    """Creates flags, and for each of them an action that is due."""
    ana = User.objects.create_superuser("ana")
    flags = [FeatureFlag(key=f"waits_{one}", enabled=True) for one in range(number)]
    action = next(one for one in all_actions(Kind.FLAG) if one.name == "rollout")
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

    from flagstaff import acting_as
    from flagstaff.actions import all_actions
    from flagstaff.actions.commit import look_at
    from flagstaff.actions.table import Run
    from flagstaff.history.kinds import Kind
    from flagstaff.models import Change, FeatureFlag, WaitingAction
    from flagstaff.waiting.actions import ask
    from flagstaff.waiting.running import run_due

    main()
