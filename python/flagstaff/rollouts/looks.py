"""What the actions of rollout plans would do: to the plan, to its flag, and to the users.

Everything is planned in memory. The last step needs no other person, so it decides what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flagstaff._tables.rows import RULES, FlagRow, Kind, flag_row
from flagstaff._tables.states import FlagState
from flagstaff._text import localized, say
from flagstaff._text.rules import rules_text, sentence
from flagstaff.actions.flag_notes import partial_rule_notices
from flagstaff.actions.table import EXPECT_VERSION, Line, Look, users_line
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    needs_question,
    text_to_type,
)
from flagstaff.changes.impact import impact, reached_beside
from flagstaff.changes.locking import footprint_of
from flagstaff.changes.row_states import Impact, RowState
from flagstaff.exceptions import UnknownPlanError
from flagstaff.history.describe import HasPermissions, field_label
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.requirements import (
    enabling_message,
    fields_of_start,
    own_bucket_rules,
    problem_of_database,
    problem_of_driver,
    problem_of_first_step,
    problem_of_flag,
    require,
)
from flagstaff.rollouts.status import guard_text, notes_of, notes_of_releases, state_sentence
from flagstaff.rollouts.steps_and_guards import Step
from flagstaff.rollouts.transitions import rolled_back_fields

# Seconds for the count of users before a roll back, which nothing delays.
_SHORT_COUNT = 0.3


def look_at_creation(key: str, *, viewer: HasPermissions | None = None, **options: Any) -> Look:
    """The steps and the guards. Nothing is given to users before the start."""
    flag = flag_row(key)
    # At 100 %, no steps are possible.
    plans.default_plan(flag)
    plan = plans.new_plan(flag, **options)
    lines = [
        Line(say("Step {number}", number=number).local, "", localized(step.text))
        for number, step in enumerate(plan.read_steps(), 1)
    ]
    lines += [Line(say("Guard").local, "", guard_text(guard)) for guard in plan.read_guards()]
    notes = [sentence(problem)] if (problem := problem_of_driver()) else []
    notes += _notes(plan, flag, has_traffic=False)
    return Look(lines=lines, notes=notes, rows=[flag], models=(Plan,))


def look_at_start(
    key: str,
    *,
    viewer: HasPermissions | None = None,
    enable: bool = False,
    delete_bucket_rules: bool = False,
    **options: Any,
) -> Look:
    """What the first step and the last one do to the users."""
    names = ("steps", "guards", "required_users", "compare", "ignore_releases")
    flag, present = flag_row(key), plans.find_plan(key)
    wanted = {name: options.get(name) for name in names}
    plan = plans.plan_to_start(key, partial(plans.new_plan, flag), wanted)
    # That of the plan, also if another one has the key now.
    if plan.flag_pk != str(flag.pk):
        flag = plans.named_flag(plan)
    first = plan.read_steps()[0]
    enables = enable and not flag.enabled
    problem = problem_of_flag(flag, enable=enables)
    problem = problem or problem_of_first_step(flag, first, is_created=plan.pk is not None)
    require(key, problem_of_database(), problem)
    fields = fields_of_start(flag, enable=enable, delete_rules=delete_bucket_rules)
    look = _steps_ahead(key, plan, flag, 0, present, fields=fields, viewer=viewer)
    if not own_bucket_rules(flag):
        return look
    rules, kept = (rules_text(rules) or "" for rules in (flag.rules, fields.get(RULES, flag.rules)))
    note = say(
        "A rule selects by the bucket of the flag: the plan does not compare its users. The start "
        "can delete it in the same change."
    ).local
    if RULES in fields:
        lines = [*look.lines, Line(field_label(RULES), rules, kept)]
        # To toggle a flag is not to change its rules.
        return replace(look, lines=lines, right="change")
    return replace(look, notes=[note, *look.notes])


def look_at_resume(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """What the step at which a plan goes on, and the last one, do to the users."""
    plan = plans.find_plan(key)
    if plan is None:
        raise UnknownPlanError(plans.no_plan_text(key))
    plans.require_resumable(plan)
    flag = plans.named_flag(plan)
    require(key, problem_of_database(), problem_of_flag(flag))
    index = 0 if plan.state == State.ROLLED_BACK else (plan.step or 0)
    return _steps_ahead(key, plans.shown(plan), flag, index, plan, viewer=viewer)


def _steps_ahead(  # noqa: PLR0913 (the plan, its flag, where it goes on, and who looks)
    key: str,
    plan: Plan,
    flag: FlagRow,
    index: int,
    present: Plan | None,
    *,
    fields: Mapping[str, object] | None = None,
    viewer: HasPermissions | None,
) -> Look:
    # Before the count: then newer changes are a conflict.
    version = version_of(Kind.FLAG, flag.pk)
    reaches = partial(_reached_by_steps, flag, plan.read_steps()[-1])
    footprint = footprint_of(reaches(), [flag.rules])
    plan_version = "" if present is None else present.version
    now, steps = RowState(Kind.FLAG, flag), plan.read_steps()
    fields = fields or {}
    enables = "enabled" in fields
    next_state, last_state = (
        now.after({**fields, "rollout_percent": step.percent}) for step in (steps[index], steps[-1])
    )
    at_once, last = (impact([now], [state], viewer=viewer) for state in (next_state, last_state))
    notes = list[str]()
    # It refuses the action now, but the action can wait.
    if problem := problem_of_driver():
        notes.append(sentence(problem))
    # Why the plan was paused or rolled back.
    if plan.reason or plan.trip_reason:
        notes.append(state_sentence(plan))
    if enables:
        notes.append(sentence(enabling_message(flag)))
    last_step = say(
        "The plan can continue to its last step, {percent} %, without another confirmation.",
        percent=steps[-1].percent,
    ).local
    users = filter(None, [impact_text(at_once)])
    kept_out = partial_rule_notices(FlagState.of(last_state.row))
    releases = map(sentence, notes_of_releases(plan, index))
    notes += [*users, *kept_out, *_notes(plan, flag), *releases, last_step]
    asks = enables or needs_question(last, Consequence.MORE)
    return Look(
        expected={key: {EXPECT_VERSION: version, plans.EXPECT_PLAN: plan_version}},
        lines=[
            *([Line(say("flag").local, _off(), _on())] if enables else []),
            _plan_line(plan, State.RUNNING.label),
            Line(say("rollout").local, f"{flag.rollout_percent} %", localized(steps[index].text)),
            *_users_lines(flag, at_once, last),
        ],
        impact=last,
        at_once=at_once,
        consequence=consequence_of(last),
        notes=notes,
        asks=asks,
        typed=text_to_type(last) if asks else "",
        rows=[flag],
        models=(Plan,),
        footprint=footprint,
        reaches=reaches,
    )


def _reached_by_steps(flag: FlagRow, last: Step) -> Impact:
    """Returns what depends on a flag, which the steps of its plan reach without another question.

    It is the same after the first step, which the plan has written.
    """
    present = RowState(Kind.FLAG, flag)
    off, on = (present.after({"enabled": is_on}) for is_on in (False, True))
    return reached_beside(off, on.after({"rollout_percent": last.percent}))


def _users_lines(flag: FlagRow, at_once: Impact, last: Impact) -> Iterator[Line]:
    labels = {
        say("users at the next step, {percent} %"): at_once,
        say("users at the last step, {percent} %"): last,
    }
    key = Kind.FLAG, flag.key
    for label, effects in labels.items():
        if key in effects:
            percent = effects.after[key].row.rollout_percent
            yield users_line(say(label, percent=percent).local, effects[key])


def look_at_pause(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """The rollout stays as it is."""
    plan = plans.find_plan(key)
    lines = [] if plan is None else [_plan_line(plan, State.PAUSED.label), *_kept_rollout(plan)]
    return Look(lines=lines)


def look_at_roll_back(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Who loses the flag, and whether it is turned off."""
    plan = plans.find_plan(key)
    # That of the plan, also if another one has the key now.
    flag = None if plan is None else plan.own_flag
    lines = [] if plan is None else [_plan_line(plan, State.ROLLED_BACK.label)]
    if plan is None or flag is None:
        return Look(lines=lines)
    lines.append(Line(say("rollout").local, f"{flag.rollout_percent} %", "0 %"))
    present = RowState(Kind.FLAG, flag)
    after = present.after(rolled_back_fields(flag))
    if flag.enabled and not after.row.enabled:
        lines.append(Line(say("flag").local, _on(), _off()))
    effects = impact([present], [after], timeout=_SHORT_COUNT, viewer=viewer)
    label = say("users with the flag").local
    if (effect := effects.get((Kind.FLAG, flag.key))) is not None:
        lines.append(users_line(label, effect))
    why = say(
        "A roll back goes to 0 %, and not to a step or a rollout before, because the harm may have "
        "begun there."
    ).local
    notes = [*filter(None, [impact_text(effects)]), why]
    return Look(lines=lines, impact=effects, notes=notes, rows=[flag], models=(Plan,))


def look_at_deletion(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """The flag stays as it is."""
    plan = plans.find_plan(key)
    if plan is None:
        raise UnknownPlanError(plans.no_plan_text(key))
    text = say(
        "The flag stays as it is. The figures of the plan are deleted; its events stay among the "
        "recent changes."
    ).local
    return Look(
        lines=[_plan_line(plan, say("deleted").local), *_kept_rollout(plan)],
        notes=[text],
        asks=True,
        asks_always=True,
        question=f"Delete the rollout plan of {key}?",
        models=(Plan,),
    )


def _notes(plan: Plan, flag: FlagRow, *, has_traffic: bool = True) -> Iterator[str]:
    yield from map(sentence, notes_of(plan, flag, has_traffic=has_traffic))


def _kept_rollout(plan: Plan) -> Iterator[Line]:
    """Yields the rollout of the flag of a plan, also if it was renamed; nothing if it is gone."""
    if (flag := plan.own_flag) is not None:
        rollout = f"{flag.rollout_percent} %"
        yield Line(say("rollout").local, rollout, rollout)


def _plan_line(plan: Plan, after: object) -> Line:
    return Line(say("plan").local, str(State(plans.shown(plan).state).label), str(after))


def _on() -> str:
    return say("on").local


def _off() -> str:
    return say("off").local
