"""What a person and the driver both do to a plan. To be called with the row of the plan locked.

Each function writes the plan, its run and an event, in the transaction of the caller. Before a step
they ask whether somebody else has changed who has the flag: the plan compares a digest of the row
with what it saw or wrote last, because a change may have left no entry in the history. The entries
are the only trace of changed allowed users, and of a change that was undone since.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from flagstaff import changes
from flagstaff._attribution import current_author
from flagstaff._tables.database import db
from flagstaff._tables.rows import BUCKET_BY, RULES, FlagRow, Kind, all_rows
from flagstaff._text import Sentence, as_stored, joined, say
from flagstaff._text.rules import can_grant
from flagstaff.changes.fields import Changed, allowed_pks_of
from flagstaff.changes.locking import digests
from flagstaff.changes.rule_use import names_in, read_named
from flagstaff.conf import conf
from flagstaff.history.log import Change, Event, events, has_history, version_of, versions_of
from flagstaff.rollouts.evidence import present_releases
from flagstaff.rollouts.models import (
    FLAG_VERSION,
    GUARDED_FOR,
    WATCHED_STATES,
    Plan,
    PlanEvent,
    State,
    StepRun,
)

# Nothing writes the others again, so an invalid one does not keep a person from stopping the plan.
_CHANGING = (
    "state",
    "step",
    "due_at",
    "seconds_left",
    "guarded_until",
    "ended_at",
    "run_id",
    "flag_version",
    "seen_flag",
    "trip_run_id",
    "trip_reason",
    "trip_figures",
    "reason",
)


def record(
    plan: Plan,
    kind: PlanEvent.Kind,
    message: str,
    figures: Mapping[str, Any] | None = None,
    *,
    wrote: Sequence[Changed] = (),
) -> None:
    """Records an event of a plan, by the current actor. `figures` are what programs read.

    With the version of the flag that it `wrote`, if any: recent changes show both in one line.
    """
    versions = [change.version for change in wrote if change.written]
    written = {FLAG_VERSION: versions[-1]} if versions else {}
    # By its primary key: a router of the project may not know the database of the plan.
    db.rows(PlanEvent).create(
        plan_id=plan.pk,
        kind=kind,
        message=as_stored(message),
        actor=current_author(),
        figures={**(figures or {}), **written},
    )


def save(plan: Plan) -> None:
    """Writes what changes in the row of a plan. Every worker loads the plans again."""
    plan.save(using=db.alias, update_fields=_CHANGING)


def end_run(plan: Plan) -> None:
    """Ends the measuring. The plan is not saved."""
    runs = db.rows(StepRun).filter(plan=plan, ended_at=None)
    runs.update(ended_at=plan.now)
    plan.run_id = None


def end(plan: Plan, state: State, reason: str = "") -> None:
    """Ends the plan and its measuring."""
    end_run(plan)
    plan.state, plan.reason, plan.ended_at = state, as_stored(reason), plan.now
    plan.due_at = plan.guarded_until = None
    save(plan)


def forget_trip(plan: Plan) -> None:
    """Forgets a trip: if it is only stored, it is not carried out. The plan is not saved."""
    plan.trip_run_id, plan.trip_reason, plan.trip_figures = None, "", None


def enter_step(
    plan: Plan,
    index: int,
    *,
    expect_version: int | None = None,
    also: Mapping[str, object] | None = None,
) -> list[Changed]:
    """Sets the rollout of a step, and begins to measure. The dwell time starts now.

    A trip that is stored is not carried out any more. The same change sets the fields of `also`, so
    that one undo takes back all. Returns this change. Raises ConflictError if the flag has another
    version than expected.
    """
    step = plan.read_steps()[index]
    if also:
        fields = {**also, "rollout_percent": step.percent}
        changed = changes.flags.update(plan.key, fields, expect_version=expect_version)
    else:
        changed = changes.flags.set_rollout(plan.key, step.percent, expect_version=expect_version)
    end_run(plan)
    runs = db.rows(StepRun)
    run = runs.create(
        plan_id=plan.pk,
        step=index,
        percent=step.percent,
        started_at=plan.now,
        number=runs.filter(plan_id=plan.pk, step=index).count() + 1,
        releases=present_releases(),
    )
    plan.step, plan.due_at = index, plan.now + timedelta(seconds=step.seconds)
    see_flag(plan, changed.version)
    _measure(plan, run)
    return [changed]


def continue_run(plan: Plan) -> bool:
    """Goes on measuring in the run that a pause has interrupted, for the rest of its dwell time.

    The evidence stays valid, because inside and outside are unmeasured for the same time. Returns
    False without such a run. The flag must be as the plan has seen it.
    """
    runs = db.rows(StepRun)
    run = runs.filter(plan_id=plan.pk, step=plan.step, ended_at=None).first()
    if run is None or plan.seconds_left is None:
        return False
    plan.due_at = plan.now + timedelta(seconds=plan.seconds_left)
    _measure(plan, run)
    return True


def _measure(plan: Plan, run: StepRun) -> None:
    """Lets the workers count for a run, without what was found before, and saves the plan."""
    plan.run_id, plan.seconds_left = run.pk, None
    plan.state, plan.reason, plan.ended_at = State.RUNNING, "", None
    forget_trip(plan)
    plan.guarded_until = plan.now + GUARDED_FOR
    save(plan)


def trip_text(plan: Plan) -> str:
    """Returns that a trip is stored, and why the plan has tripped."""
    return say("run-jobs will roll it back: {why}", why=plan.trip_reason)


def pause(plan: Plan, reason: str) -> None:
    """Pauses a plan. The rollout stays as it is, and nothing is measured until it continues.

    A trip that is stored is still carried out.
    """
    if plan.has_tripped:
        reason = joined(filter(None, [reason, trip_text(plan)]), "; ")
    if plan.due_at is not None:
        plan.seconds_left = max((plan.due_at - plan.now).total_seconds(), 0.0)
    plan.state, plan.reason, plan.run_id = State.PAUSED, as_stored(reason), None
    plan.due_at = plan.guarded_until = None
    save(plan)
    message = say("paused: {why}", why=reason) if reason else say("paused")
    record(plan, PlanEvent.Kind.PAUSED, message)


def rolled_back_fields(flag: FlagRow) -> dict[str, object]:
    """Returns what a roll back writes to a flag: 0 %, and off if a rule can grant it."""
    fields: dict[str, object] = {"rollout_percent": 0}
    return fields | {"enabled": False} if can_grant(flag.rules) else fields


def roll_back(plan: Plan, flag: FlagRow, reason: str) -> list[Changed]:
    """Sets the rollout of the plan's own flag to 0 %, and disables it if a rule can grant it.

    A person who rolls back has forgotten the trip before. Returns these changes.
    """
    is_turned_off = "enabled" in rolled_back_fields(flag)
    # Two changes of one field each: broken rules must not stop them. The list shows the last one.
    changed = [changes.flags.set_rollout(flag.key, 0)]
    if is_turned_off:
        changed.append(changes.flags.disable(flag.key))
    see_flag(plan, changed[-1].version)
    end(plan, State.ROLLED_BACK, reason)
    return changed


# Whether somebody else has changed who has the flag.

# The length of each half of a digest.
_HALF = 32
# The number of changes since the last run that are read.
_MAX_READ = 1000
# A flag with another key has other users inside.
_DECIDING = {"key", "enabled", "rollout_percent", BUCKET_BY, RULES}


def digest_of(flag: FlagRow) -> str:
    """Returns a digest of what decides who has a flag, besides the allowed users.

    Its first half is of the row, the other half of the segments and flags that its rules need, with
    the allowed users of these flags. Queries them.
    """
    own = [flag.enabled, flag.rollout_percent, flag.bucket_by, flag.rules]
    needed = read_named(name for name, _place in names_in(flag.rules))
    flags = [row for (kind, _key), row in needed.items() if kind is Kind.FLAG]
    users = allowed_pks_of(flags) if flags else {}
    others = [
        [place, digest]
        for (kind, _key), row in needed.items()
        for place, digest in digests(kind, row, users.get(row.pk))
    ]
    return f"{_half(own)}{_half(sorted(others))}"


def _half(decides: object) -> str:
    text = json.dumps(decides, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:_HALF]


def see_flag(plan: Plan, version: int | None) -> None:
    """Notes the present row of the flag, which must be locked. The plan is not saved."""
    flag = plan.locked_flag()
    plan.seen_flag = "" if flag is None else digest_of(flag)
    plan.flag_version = version


def foreign_change(plan: Plan, flag: FlagRow | None) -> Sentence | None:
    """Returns that somebody else has changed who has the flag since the plan saw it, or None.

    The row of the flag must be locked. Makes a few queries. After other changes the plan gets the
    new version, and is not saved. A flag with another key has other users inside, so the plan does
    not follow it.
    """
    version = None if flag is None else version_of(Kind.FLAG, flag.pk)
    return _foreign_change(plan, flag, version)


def _foreign_change(plan: Plan, flag: FlagRow | None, version: int | None) -> Sentence | None:
    if flag is None or flag.key != plan.key:
        return say("the flag was deleted or renamed")
    # Without a history, which no step can do without, a trip still compares the row.
    has_entries = version is not None and version != plan.flag_version
    digest = digest_of(flag)
    is_same = digest[:_HALF] == plan.seen_flag[:_HALF]
    if not is_same or (has_entries and _has_deciding_entry(plan)):
        return say("the flag was changed outside of the plan, as its history shows")
    if digest != plan.seen_flag:
        return say("a flag or a segment on which the flag depends was changed")
    plan.flag_version = plan.flag_version if version is None else version
    return None


def with_flags(plans: Iterable[Plan]) -> list[Plan]:
    """Returns plans with their flags, each in the state that follows from both; never to be saved.

    A plan whose flag somebody else has changed is paused: no step follows until a person resumes
    it. The next run of a driver only writes so. Whatever shows a plan reads its state here. Makes
    up to five queries, and some for each running plan whose flag needs other rows by its rules,
    or has new entries in the history.
    """
    plans = [*plans]
    flags = _flags_of(plans)
    watched = [plan for plan in plans if plan.state in WATCHED_STATES]
    versions: Mapping[str, int] | None = None
    if watched and has_history():
        versions = versions_of(Kind.FLAG, [plan.flag_pk for plan in watched])
    paused = dict[Plan, Sentence]()
    for plan in plans:
        flag = plan.own_flag = flags.get(plan.flag_pk)
        version = None if versions is None else versions.get(plan.flag_pk, 0)
        if plan in watched and (why := _foreign_change(plan, flag, version)):
            paused[plan] = why
    # Unless a driver or a person has moved it on since it was read.
    seen = _seen_flags(paused)
    for plan, why in paused.items():
        if seen.get(plan.pk) == (plan.seen_flag, plan.flag_version):
            plan.state, plan.reason, plan.run_id = State.PAUSED, why, None
            plan.due_at = plan.guarded_until = None
    return plans


def in_state(plans: QuerySet[Plan], state: str) -> QuerySet[Plan]:
    """Returns the plans that are in a state as `with_flags` shows it. Reads those that run."""
    watched = with_flags(plans.filter(state__in=WATCHED_STATES))
    paused = [plan.pk for plan in watched if plan.state == State.PAUSED]
    if state == State.PAUSED:
        return plans.filter(Q(state=state) | Q(pk__in=paused))
    return plans.filter(state=state).exclude(pk__in=paused)


def _flags_of(plans: Iterable[Plan]) -> dict[str, FlagRow]:
    """Returns the flags of plans by the text of the primary key. Makes a query."""
    to_key = conf.flag_model._meta.pk.to_python
    pks = []
    for plan in plans:
        with suppress(ValidationError):  # a primary key of another FLAG_MODEL
            pks.append(to_key(plan.flag_pk))
    rows = all_rows(conf.flag_model).filter(pk__in=pks) if pks else ()
    return {str(flag.pk): flag for flag in rows}


def _seen_flags(plans: Collection[Plan]) -> dict[int, tuple[str, int | None]]:
    """Returns what plans have seen of their flags by now. Makes a query if there are any."""
    if not plans:
        return {}
    present = Plan.objects.filter(pk__in=[plan.pk for plan in plans])
    columns = present.values_list("pk", "seen_flag", "flag_version")
    return {pk: (seen_flag, version) for pk, seen_flag, version in columns}


def _has_deciding_entry(plan: Plan) -> bool:
    """Whether an entry since the plan saw the flag may have changed who has it."""
    entries = Change.objects.of_row(Kind.FLAG, plan.flag_pk).filter(id__gt=plan.flag_version or 0)
    newer = [*entries.short().newest()[:_MAX_READ]]
    # Without any, the history itself was changed.
    return len(newer) in {0, _MAX_READ} or any(map(_decides, events(newer)))


def _decides(event: Event) -> bool:
    if event.action != "change" or event.added.count or event.removed.count:
        return True
    fields = {difference.field for difference in event.differences}
    return not fields or not fields.isdisjoint(_DECIDING)
