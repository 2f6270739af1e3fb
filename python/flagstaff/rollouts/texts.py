"""A rollout plan in words: its state, its step, and why it is there."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff._words.times import local_time_text
from flagstaff.rollouts.guards import FUNCTION, Guard, guard_name
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import rollout_difference, will_pause

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"


def state_name(plan: Plan) -> tuple[str, str]:
    """Returns the state and its name; that nothing guards the plan, if that is so."""
    if plan.is_unguarded:
        return "unguarded", _("unguarded")
    return plan.state, str(State(plan.state).label)


def state_sentence(plan: Plan, flag: FlagRow | None = None) -> str:
    """Returns the step, the reason of the state, and where the flag is if it differs."""
    text, values, pauses = "", dict[str, object](), will_pause(plan, flag)
    if plan.problem:
        text = localized(plan.problem)
    elif plan.step is None:
        text = _("Not started: the workers measure, and the rollout stays as it is")
    else:
        text, steps = _("Step %(step)s of %(steps)s, %(percent)s %%"), plan.read_steps()
        values = {"step": plan.step + 1, "steps": len(steps), "percent": plan.percent}
        if plan.state == State.ROLLED_BACK:
            text = _("Step %(step)s of %(steps)s, %(percent)s → 0 %%")
        if plan.due_at is not None and plan.due_at > plan.now and not pauses:
            text = _("Step %(step)s of %(steps)s, %(percent)s %%, until %(time)s or later")
            values["time"] = local_time_text(plan.due_at)
    # What a guard has found says more than that it has rolled back.
    reasons = [plan.trip_reason or plan.reason, localized(rollout_difference(plan, flag) or "")]
    if pauses:
        reasons.append(_("the flag was changed, so the next run of run-jobs pauses the plan"))
    if plan.is_unguarded:
        reasons.append(_("no guard can stop it, because run-jobs does not watch the plan"))
    sentence = text % values if values else text
    for reason in filter(None, reasons):
        sentence = _("%(state)s — %(reason)s") % {"state": sentence, "reason": reason}
    return _("%(sentence)s.") % {"sentence": sentence}


def guard_text(guard: Guard) -> str:
    """Returns all that a guard is, such as "latency over 0.5 s, rolls back, limit 2"."""
    return ", ".join([localized(guard_name(guard)), guard_options(guard)])


def guard_options(guard: Guard) -> str:
    """Returns what a guard does on a trip, and its limit."""
    action = _("holds the plan") if guard.action == "hold" else _("rolls back")
    if guard.kind == FUNCTION:
        return action
    limit = _("limit %(limit)s") % {"limit": number_format(f"{guard.limit:g}", use_l10n=True)}
    return f"{action}, {limit}"
