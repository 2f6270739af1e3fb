"""What a person should know of a plan: above all whether the site has enough users for its steps.

A created plan measures before its start: how many users evaluate the flag, and how many of them
fail. From this follows what a step can show in its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow
from flagstaff._words.rule_parts import can_grant
from flagstaff._words.text import Text, some
from flagstaff.conf import conf
from flagstaff.rollouts.alpha import PLAN_ALPHA, alpha_of_run
from flagstaff.rollouts.evidence import read_evidence
from flagstaff.rollouts.guards import FUNCTION, Guard, numbered
from flagstaff.rollouts.models import Plan, StepRun
from flagstaff.rollouts.releases import present_releases
from flagstaff.rollouts.statistics import smallest_ratio, upper_bound
from flagstaff.rollouts.steps import ALL, Step
from flagstaff.rollouts.verdict import times

_DAY = 86_400
# What was measured in a shorter time says little about a day.
_LEAST_SECONDS = 3600


@dataclass(frozen=True)
class Traffic:
    """What a plan has measured before its start."""

    seconds: float
    users: float
    #: Users who failed, by number of the guard.
    failed: Mapping[int, int]

    def inside(self, step: Step) -> float:
        """Returns the users with the flag that a step will see. Fewer in days: they come again."""
        return self.users * step.seconds / self.seconds * step.percent / ALL

    def slow_steps(
        self, steps: Sequence[Step], guards: Sequence[Guard], required_users: int
    ) -> list[Step]:
        """Returns the steps that cannot pass in their time and half of the plan's.

        Users who come again count once in what was measured, so a step of an hour sees more users
        than a 24th of those of a day. Half of the plan's time is what a plan may be late.
        """
        compared = [step for step in steps if step.percent < ALL]
        late = sum(step.seconds for step in compared) / 2
        return [
            step
            for step in compared
            if not all(
                self.can_pass(
                    Step(step.percent, step.seconds + late), guard, number, required_users
                )
                for number, guard in numbered(guards)
            )
        ]

    def can_pass(self, step: Step, guard: Guard, number: int, required_users: int) -> bool:
        """Whether a harmless step passes a guard in its time: by its users, or by its failures."""
        if self.inside(step) >= required_users:
            return True
        share = step.percent / ALL
        failed = self.failed.get(number, 0) * step.seconds / self.seconds
        return upper_bound(failed * share, failed * (1 - share), share, PLAN_ALPHA) < guard.limit


def traffic_of(plan: Plan) -> Traffic | None:
    """Returns the traffic before the start; None without an hour of measuring. A few queries."""
    runs = db.rows(StepRun).filter(plan_id=plan.pk, step=None)
    run = runs.first() if plan.pk else None
    if run is None:
        return None
    end = run.ended_at or plan.now
    seconds = (end - run.started_at).total_seconds()
    evidence = read_evidence(run, end)
    users = evidence.users_inside + evidence.users_outside
    if seconds < _LEAST_SECONDS or not users:
        return None
    failed = {
        number: failing.inside + failing.outside for number, failing in evidence.failed.items()
    }
    return Traffic(seconds, users, failed)


def notes_of(plan: Plan, flag: FlagRow, index: int, *, has_traffic: bool = True) -> Iterator[Text]:
    """Yields what a person should know of the steps from this index on. Makes a few queries."""
    if can_grant(flag.rules):
        yield Text("a rule can grant the flag, so a roll back also turns it off")
    steps, guards = plan.read_steps(), plan.read_guards()
    if has_traffic:
        yield from _notes_of_traffic(plan)
    if steps[-1].percent == ALL and all(guard.kind != FUNCTION for guard in guards):
        yield Text("at 100 % all users have the flag, so no guard watches the last step")
    if steps[index].percent < ALL:
        yield from _notes_of_releases(plan)


def _notes_of_releases(plan: Plan) -> Iterator[Text]:
    """Yields that new builds do not start a step again."""
    if plan.ignore_releases:
        yield Text(
            "releases are ignored: a bad build in the middle of a step can pass with what the "
            "build before has shown"
        )
        return
    present = present_releases()
    # No worker has counted yet: this process has the settings of the others.
    if not (conf.release if present is None else present):
        yield Text(
            "workers report no release: a bad build in the middle of a step can pass with what the "
            "build before has shown; set RELEASE"
        )


def _notes_of_traffic(plan: Plan) -> Iterator[Text]:
    """Yields whether the steps can pass at the present traffic."""
    steps = [step for step in plan.read_steps() if step.percent < ALL]
    if not steps or not numbered(plan.read_guards()):
        return
    traffic = traffic_of(plan)
    if traffic is None:
        yield Text(
            "a step needs {required} users with the flag, or enough failures to compare; a plan "
            "that is created an hour before its start says whether they come",
            required=plan.required_users,
        )
        return
    yield Text(
        "at {percent} %, about {users} users a day evaluate this flag with it on; a step needs "
        "{required}, or enough failures to compare",
        percent=steps[0].percent,
        users=round(traffic.users * _DAY / traffic.seconds * steps[0].percent / ALL),
        required=plan.required_users,
    )
    if harm := _smallest_harm(plan, steps[0], traffic):
        yield Text(
            "the first step finds in four of five cases that users with the flag fail {ratio} "
            "times as often, and can miss smaller harm",
            ratio=times(harm),
        )
    if slow := traffic.slow_steps(steps, plan.read_guards(), plan.required_users):
        yield Text(
            "at the present traffic these steps need much more than their time, so the plan will "
            "hold: {steps}; choose higher percentages, longer times or fewer required users",
            steps=some([step.text for step in slow]),
        )


def _smallest_harm(plan: Plan, step: Step, traffic: Traffic) -> float | None:
    """Returns the largest of the smallest ratios that the guards find, or None if one sees none."""
    guards, share = plan.read_guards(), step.percent / ALL
    alpha = alpha_of_run(plan.read_steps(), 0, guards, 1)
    ratios = [
        smallest_ratio(
            traffic.failed.get(number, 0) * step.seconds / traffic.seconds * (1 - share),
            share,
            2 / alpha.guard,
        )
        for number, _guard in numbered(guards)
    ]
    known_ratios = [ratio for ratio in ratios if ratio is not None]
    return max(known_ratios) if len(known_ratios) == len(ratios) else None
