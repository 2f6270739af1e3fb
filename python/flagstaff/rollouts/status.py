"""A plan as a record and in words: its state, its step, its evidence, its events, and its traffic.

Above all, a person should know whether the site has enough users for its steps. A created plan
measures before its start: how many users evaluate the flag, and how many of them fail. From this
follows what a step can show in its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.formats import number_format

from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow
from flagstaff._text import Sentence, localized, say, some
from flagstaff._text.rules import can_grant
from flagstaff._text.times import Column, Record, duration, local_time_text
from flagstaff.conf import conf
from flagstaff.rollouts.evidence import present_releases, read_evidence, verdict_of
from flagstaff.rollouts.models import Plan, PlanEvent, State, StepRun, database_now
from flagstaff.rollouts.requirements import present_rollout
from flagstaff.rollouts.statistics import alpha_of_run, smallest_ratio
from flagstaff.rollouts.steps_and_guards import (
    ALL,
    FEWEST_USERS,
    FUNCTION,
    Guard,
    Step,
    defaults_for,
    guard_name,
    numbered,
)
from flagstaff.rollouts.transitions import with_flags
from flagstaff.rollouts.verdict import times


def _steps(record: Record) -> str:
    steps, present = [*record["steps"]], record["step"]
    if present is not None:
        steps[present - 1] = f"[{steps[present - 1]}]"
    return " ".join(steps)


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["unguarded"] or record["state"] != State.RUNNING else None


def _rollout(record: Record) -> str:
    if record["rollout_differs"]:
        return str(record["rollout_differs"])
    return "" if record["rollout"] is None else f"{record['rollout']} %"


LIST_COLUMNS = (
    Column("key"),
    Column("state", style=_state_style),
    Column("reason"),
    Column("unguarded"),
    Column("steps", _steps, is_text=True),
    Column("due_at"),
)
PLAN_COLUMNS = (
    *LIST_COLUMNS[:5],
    Column("rollout", _rollout),
    *LIST_COLUMNS[5:],
    Column("guards", lambda record: " ".join(record["guards"]) or "none", is_text=True),
    Column("required_users"),
    Column("compare"),
    Column("ignore_releases"),
    Column("evidence", lambda record: str((record["evidence"] or {}).get("why", "")), is_text=True),
)
EVENT_COLUMNS = (Column("at"), Column("kind"), Column("actor"), Column("text", truncate=True))


def plan_record(plan: Plan) -> dict[str, Any]:
    """Returns a plan as a dict for JSON. Makes a few queries.

    A plan that cannot be read has no steps and guards, and the problem as its reason.
    """
    [plan] = with_flags([plan])
    flag = plan.flag
    events = db.rows(PlanEvent).filter(plan=plan).order_by("id")
    return {
        **plan_summary(plan),
        "percent": plan.percent,
        "rollout": None if flag is None else flag.rollout_percent,
        "enabled": None if flag is None else flag.enabled,
        "rollout_differs": rollout_difference(plan),
        "guards": [] if plan.problem else plan.guards,
        "required_users": plan.required_users,
        "compare": plan.compare or None,
        "ignore_releases": plan.ignore_releases,
        "actor": plan.actor or None,
        "evidence": evidence_of(plan),
        "events": [
            {
                "at": event.at,
                "kind": event.kind,
                "actor": event.actor or None,
                "text": event.message,
                "figures": event.figures,
            }
            for event in events
        ],
    }


def plan_summary(plan: Plan) -> dict[str, Any]:
    """Returns what a list says about a plan that has its flag. Makes no query."""
    steps, index = ([], None) if plan.problem else (plan.steps, plan.step)
    return {
        "key": plan.key,
        "state": plan.state,
        "reason": plan.problem or plan.reason or None,
        "unguarded": plan.is_unguarded,
        "needs_attention": plan.needs_attention,
        "step": None if index is None else index + 1,
        "steps": steps,
        "due_at": plan.due_at,
    }


def rollout_difference(plan: Plan) -> Sentence | None:
    """Returns where flag and plan are; None if the flag has the rollout of the plan."""
    flag, percent = plan.flag, plan.percent
    if flag is None or percent is None:
        return None
    if plan.state in {State.ROLLED_BACK, State.DONE}:
        return _change_since(flag, 0 if plan.state == State.ROLLED_BACK else percent)
    if not flag.enabled:
        return say("flag is off, plan at {percent} %", percent=percent)
    rollout = flag.rollout_percent
    if rollout == percent:
        return None
    return say("flag is at {rollout} %, plan at {percent} %", rollout=rollout, percent=percent)


def _change_since(flag: FlagRow, left: int) -> Sentence | None:
    """Returns where a flag is now, if its users have another rollout than the plan has `left`."""
    rollout = present_rollout(flag)
    if rollout == left:
        return None
    if not flag.enabled:
        return say("the flag was changed since, and is off")
    return say("the flag was changed since, and is at {rollout} %", rollout=rollout)


def evidence_of(plan: Plan) -> dict[str, Any] | None:
    """Returns the figures of the newest run, or those at a trip.

    None before the start, and of a run of a plan that cannot be read.
    Reports that come later change the counts of a run. While the plan measures, `why` says what
    follows from the figures. Makes up to seven queries.
    """
    if plan.trip_figures:
        return {"why": plan.trip_reason, **plan.trip_figures}
    if plan.problem:
        return None
    runs = db.rows(StepRun).filter(plan=plan).exclude(step=None)
    run = runs.last()
    if run is None:
        return None
    verdict = verdict_of(plan, run)
    return {"why": "" if plan.run_id is None else verdict.why, **verdict.figures()}


# In words.

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"


def state_name(plan: Plan) -> tuple[str, str]:
    """Returns the state and its name; that nothing guards the plan, if that is so."""
    if plan.is_unguarded:
        return "unguarded", say("unguarded").local
    return plan.state, str(State(plan.state).label)


def state_sentence(plan: Plan) -> str:
    """Returns the step, the reason of the state, and where the flag is if it differs."""
    text, values = "", dict[str, object]()
    if plan.problem:
        text = localized(plan.problem)
    elif plan.step is None:
        text = say(
            "Not started: the workers count users and failures already, and the rollout stays as "
            "it is"
        ).local
    else:
        text, steps = say("Step {step} of {steps}, {percent} %"), plan.read_steps()
        values = {"step": plan.step + 1, "steps": len(steps), "percent": plan.percent}
        if plan.state == State.ROLLED_BACK:
            text = say("Step {step} of {steps}, {percent} → 0 %")
        if plan.due_at is not None and plan.due_at > plan.now:
            text = say("Step {step} of {steps}, {percent} %, until {time} or later")
            values["time"] = local_time_text(plan.due_at)
    # What a guard has found says more than that it has rolled back.
    reasons = [
        plan.trip_reason or localized(plan.reason),
        localized(rollout_difference(plan) or ""),
    ]
    if plan.is_unguarded:
        reasons.append(say("no guard can stop it, because run-jobs does not watch the plan").local)
    sentence = say(text, **values).local if values else text
    for reason in filter(None, reasons):
        sentence = say("{state} — {reason}", state=sentence, reason=reason).local
    return say("{sentence}.", sentence=sentence).local


def guard_text(guard: Guard) -> str:
    """Returns all that a guard is.

    Such as "latency over 0.5 s, rolls back to 0 %, limit: 2 times as often".
    """
    return ", ".join([localized(guard_name(guard)), guard_options(guard)])


def guard_options(guard: Guard) -> str:
    """Returns what a guard does on a trip, and its limit."""
    action = (
        say("holds the plan").local if guard.action == "hold" else say("rolls back to 0 %").local
    )
    if guard.kind == FUNCTION:
        return action
    limit = number_format(f"{guard.limit:g}", use_l10n=True)
    text = say("limit: {limit} times as often", limit=limit).local
    return f"{action}, {text}"


_DAY = 86_400
# The newest runs that are looked at.
_RUNS = 20


@dataclass(frozen=True)
class Traffic:
    """What a plan has measured in some time."""

    seconds: float
    users: float
    #: Users who failed, by number of the guard.
    failed: Mapping[int, int]

    @property
    def users_a_day(self) -> float:
        """The users of a day, or more: in several days, some come again."""
        return self.users * min(_DAY / self.seconds, 1)

    def inside(self, step: Step) -> float:
        """Returns how many users with the flag a step sees in its time, or more.

        Users who come again count once. So in a part of the time there are at least that part of
        the users, and in more time no fewer. Nothing is extrapolated.
        """
        return self.users * min(step.seconds / self.seconds, 1) * step.percent / ALL

    def is_enough_for(self, step: Step) -> bool:
        """Whether it was measured for a day, or for the time of a step."""
        return self.seconds >= min(_DAY, step.seconds)


def traffic_of(run: StepRun, now: datetime) -> Traffic | None:
    """Returns the traffic of a run; None without users. A few queries."""
    end = run.ended_at or now
    evidence = read_evidence(run, end)
    users = evidence.users_inside + evidence.users_outside
    if not users:
        return None
    failed = {
        number: failing.inside + failing.outside for number, failing in evidence.failed.items()
    }
    return Traffic((end - run.started_at).total_seconds(), users, failed)


def users_a_day(flag: FlagRow) -> float | None:
    """Returns the users a day in the newest run of the flag's plans that took a day, or None."""
    if not db.is_postgresql:
        return None
    runs = db.rows(StepRun).filter(plan__flag_pk=str(flag.pk), percent__lt=ALL).order_by("-id")
    now = database_now()
    ends = ((run, run.ended_at or now) for run in runs[:_RUNS])
    run = next((run for run, end in ends if (end - run.started_at).total_seconds() >= _DAY), None)
    traffic = None if run is None else traffic_of(run, now)
    return None if traffic is None else traffic.users_a_day


def notes_of(plan: Plan, flag: FlagRow, *, has_traffic: bool = True) -> Iterator[Sentence]:
    """Yields what a person should know of a plan. Makes a few queries."""
    if can_grant(flag.rules):
        yield say("a rule can grant the flag, so a roll back also turns it off")
    if plan.step is None and flag.enabled and flag.rollout_percent > 0:
        yield say(
            "a roll back goes to 0 %, and not to the {percent} % before the plan",
            percent=flag.rollout_percent,
        )
    steps, guards = plan.read_steps(), plan.read_guards()
    if has_traffic:
        yield from _notes_of_traffic(plan)
    if steps[-1].percent == ALL and all(guard.kind != FUNCTION for guard in guards):
        yield say("no guard watches the last step, at 100 %")


def notes_of_releases(plan: Plan, index: int) -> Iterator[Sentence]:
    """Yields that new builds do not start a step from this index on again."""
    if plan.read_steps()[index].percent == ALL:
        return
    if plan.ignore_releases:
        yield say(
            "releases are ignored: a bad build in the middle of a step can pass with what the "
            "build before has shown"
        )
        return
    present = present_releases()
    # No worker has counted yet: this process has the settings of the others.
    if not (conf.release if present is None else present):
        yield say(
            "it is not known which build the workers run, so a bad build in the middle of a step "
            "can pass with what the build before has shown; a developer can name the build in the "
            "project's settings (RELEASE)"
        )


def _notes_of_traffic(plan: Plan) -> Iterator[Sentence]:
    """Yields how many users evaluate the flag, and whether the steps see enough of them."""
    steps = [step for step in plan.read_steps() if step.percent < ALL]
    if not steps or not numbered(plan.read_guards()):
        return
    run = db.rows(StepRun).filter(plan_id=plan.pk, step=None).first() if plan.pk else None
    traffic = None if run is None else traffic_of(run, plan.now)
    needs = say(
        "a step passes when its time is over and {required} users with the flag were counted; "
        "fewer are enough if the comparison already shows that they do not fail too often",
        required=plan.required_users,
    )
    if traffic is None or not any(map(traffic.is_enough_for, steps)):
        if plan.step is None:
            needs = say(
                "{needs}; whether {required} come is known a day after the plan was created, "
                "because the workers count users from then on",
                needs=needs,
                required=plan.required_users,
            )
        yield needs
        return
    yield say(
        "in {time}, {users} users evaluated this flag: {inside} at {percent} %; {needs}",
        time=duration(traffic.seconds),
        users=round(traffic.users),
        percent=steps[0].percent,
        inside=round(traffic.users * steps[0].percent / ALL),
        needs=needs,
    )
    if harm := _smallest_harm(plan, steps[0], traffic):
        yield say(
            "the first step finds in four of five cases that users with the flag fail {ratio} "
            "times as often, and can miss smaller harm",
            ratio=times(harm),
        )
    if traffic.seconds >= _DAY and traffic.users_a_day < FEWEST_USERS:
        yield say("too few users for a comparison: use function guards")
        return
    slow = [step for step in steps if traffic.inside(step) < plan.required_users]
    slow = [step for step in slow if traffic.is_enough_for(step)]
    if slow:
        fitting = defaults_for(traffic.users_a_day)
        yield say(
            "these steps can see fewer users than they need in their time, so the plan may hold: "
            "{steps}; steps that fit: {fitting}, with {required} required users",
            steps=some([step.text for step in slow]),
            fitting=some([step.text for step in fitting.steps]),
            required=fitting.required_users,
        )


def _smallest_harm(plan: Plan, step: Step, traffic: Traffic) -> float | None:
    """Returns the largest of the smallest ratios that the guards find, or None if one sees none."""
    guards, share = plan.read_guards(), step.percent / ALL
    alpha = alpha_of_run(plan.read_steps(), 0, guards, 1)
    # In a longer time, nothing is extrapolated.
    part = min(step.seconds / traffic.seconds, 1)
    ratios = [
        smallest_ratio(
            traffic.failed.get(number, 0) * part * (1 - share),
            share,
            2 / alpha.guard,
        )
        for number, _guard in numbered(guards)
    ]
    known_ratios = [ratio for ratio in ratios if ratio is not None]
    return max(known_ratios) if len(known_ratios) == len(ratios) else None
