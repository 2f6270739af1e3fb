"""A rollout plan in words: its state, its step, its guards, and what needs a person."""

from __future__ import annotations

from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff._words.times import local_time_text
from flagstaff.admin.words import badge
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import rollout_difference

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"
# What a guard has found, in a list.
_MAX_FOUND = 90


def state_name(plan: Plan) -> str:
    """Returns the name of the state. SQL may have written an unknown one."""
    return str(State(plan.state).label) if plan.state in State.values else plan.state


def state_badge(plan: Plan) -> SafeString:
    """Returns the state as a coloured label; that nothing guards the plan, if that is so."""
    if plan.is_unguarded:
        return badge("unguarded", _("unguarded"))
    return badge(plan.state, state_name(plan))


def state_sentence(plan: Plan) -> str:
    """Returns the step, the state and its reason as a sentence. Raises InvalidPlanError."""
    steps, index = plan.read_steps(), plan.step or 0
    texts = {
        State.PENDING: _("Not started: the workers measure, and the rollout stays as it is"),
        State.RUNNING: _("Step %(step)s of %(steps)s, %(percent)s %%: the dwell time has ended"),
        State.HOLDING: _("Step %(step)s of %(steps)s, %(percent)s %%"),
        State.PAUSED: _("Paused at step %(step)s of %(steps)s, %(percent)s %%"),
        State.DONE: _("All %(steps)s steps are complete, and the rollout is %(percent)s %%"),
        State.ROLLED_BACK: _("Rolled back at step %(step)s of %(steps)s, %(percent)s %%"),
    }
    text = texts[State(plan.state)]
    values: dict[str, object] = {
        "step": index + 1,
        "steps": len(steps),
        "percent": steps[index].percent,
    }
    if plan.state == State.RUNNING and plan.due_at is not None and plan.due_at > plan.now:
        text = _("Step %(step)s of %(steps)s, %(percent)s %%, until %(time)s or later")
        values |= {"time": local_time_text(plan.due_at)}
    # What a guard has found says more than that it has rolled back.
    reason = plan.trip_reason or plan.reason
    if not reason:
        return _("%(sentence)s.") % {"sentence": text % values}
    return _("%(state)s — %(reason)s") % {"state": text % values, "reason": reason}


def step_text(plan: Plan) -> str:
    """Returns the percentage and the number of the present step, such as "5 % · 2 of 5"."""
    count = len(plan.read_steps())
    if plan.step is None:
        return _("0 of %(steps)s") % {"steps": count}
    text = _("%(percent)s %% · %(step)s of %(steps)s")
    return text % {"percent": plan.percent, "step": plan.step + 1, "steps": count}


def difference_text(plan: Plan, flag: FlagRow | None) -> str:
    """Returns where flag and plan are, if they differ. A plan that was rolled back has let go."""
    differs = None if plan.state == State.ROLLED_BACK else rollout_difference(plan, flag)
    return "" if differs is None else localized(differs)


def attention_text(plan: Plan, flag: FlagRow | None) -> str:
    """Returns why somebody must look at a plan, in a few words; empty if nobody must."""
    if plan.is_unguarded:
        return _at(_("plan unguarded"), plan)
    if not plan.reason_kind:
        return ""
    if plan.state == State.PAUSED and (text := difference_text(plan, flag)):
        return text
    label = {
        State.HOLDING: _("plan holds"),
        State.PAUSED: _("plan paused"),
        State.ROLLED_BACK: _("rolled back"),
    }.get(State(plan.state), state_name(plan))
    if not plan.trip_reason:
        return _at(label, plan)
    if plan.state != State.ROLLED_BACK:
        label = _("not rolled back yet")
    found = Truncator(plan.trip_reason).chars(_MAX_FOUND)
    return f"{_at(label, plan)}: {found}"


def plan_note(plan: Plan) -> str:
    """Returns the state of a plan for the list of flags, such as "plan: 5 %, running"."""
    percent, state = plan.percent, state_name(plan)
    if percent is None:
        return _("plan: %(state)s") % {"state": state}
    return _("plan: %(percent)s %%, %(state)s") % {"percent": percent, "state": state}


def _at(label: str, plan: Plan) -> str:
    percent = plan.percent
    if percent is None:
        return label
    return _("%(label)s at %(percent)s %%") % {"label": label, "percent": percent}
