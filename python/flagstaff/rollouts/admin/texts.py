"""A plan in words: its state, step, guards and times, in the language of the request."""

from __future__ import annotations

import math
from datetime import datetime

from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _

from flagstaff._words.local_formats import local_number, local_time_text
from flagstaff._words.message import localized
from flagstaff.rollouts import messages
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.guards import LATENCY, Guard, guard_name, seconds_text
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.transitions import steps_of

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"

# Ratios from here on have no decimals, as in the sentences of verdicts.
_EXACT = 10
_MILLION = 1_000_000
_CSS_CLASSES: dict[str, str] = {
    State.PENDING: "none",
    State.RUNNING: "on",
    State.HOLDING: "partial",
    State.PAUSED: "partial",
    State.DONE: "off",
    State.ROLLED_BACK: "tripped",
}


def state_label(plan: Plan) -> SafeString:
    """Returns the state as a coloured label."""
    css = _CSS_CLASSES.get(plan.state, "tripped")
    return format_html(
        '<span class="flagstaff-state flagstaff-{}">{}</span>', css, state_name(plan)
    )


def state_name(plan: Plan) -> str:
    """Returns the name of the state. SQL may have written an unknown one."""
    return str(State(plan.state).label) if plan.state in State.values else plan.state


def present_percent(plan: Plan) -> int | None:
    """Returns the percentage of the present step, or None before the start."""
    return None if plan.step is None else steps_of(plan)[plan.step].percent


def step_text(plan: Plan) -> str:
    """Returns the percentage and the number of the present step, such as "5 % · 2 of 5"."""
    count = len(steps_of(plan))
    if plan.step is None:
        return _("0 of %(steps)s") % {"steps": count}
    text = _("%(percent)s %% · %(step)s of %(steps)s")
    return text % {"percent": present_percent(plan), "step": plan.step + 1, "steps": count}


def state_sentence(plan: Plan, now: datetime) -> str:
    """Returns the state and its reason as one sentence."""
    text = _state_text(plan, now)
    if plan.reason:
        return _("%(state)s — %(reason)s") % {"state": text, "reason": localized(plan.reason)}
    return _("%(sentence)s.") % {"sentence": text}


def _state_text(plan: Plan, now: datetime) -> str:
    steps = steps_of(plan)
    values: dict[str, object] = {
        "step": (plan.step or 0) + 1,
        "steps": len(steps),
        "percent": steps[plan.step or 0].percent,
    }
    texts = {
        State.PENDING: _("Not started: the workers measure, and the rollout stays as it is"),
        State.RUNNING: _("Step %(step)s of %(steps)s, %(percent)s %%: the dwell time has ended"),
        State.HOLDING: _("Step %(step)s of %(steps)s, %(percent)s %%"),
        State.PAUSED: _("Paused at step %(step)s of %(steps)s, %(percent)s %%"),
        State.DONE: _("All %(steps)s steps are complete, and the rollout is %(percent)s %%"),
        State.ROLLED_BACK: _("Rolled back at step %(step)s of %(steps)s, %(percent)s %%"),
    }
    text = texts[State(plan.state)]
    if plan.state == State.ROLLED_BACK and plan.reason:
        # The reason says that it was rolled back, and by what.
        text = texts[State.HOLDING]
    if plan.state == State.PENDING and plan.starts_at is not None:
        text, values["time"] = _("Starts at %(time)s"), local_time_text(plan.starts_at)
    elif plan.state == State.RUNNING and plan.due_at is not None and plan.due_at > now:
        text = _("Step %(step)s of %(steps)s, %(percent)s %%, until %(time)s or later")
        values["time"] = local_time_text(plan.due_at)
    elif plan.state == State.PAUSED and plan.step is None:
        text = _("Paused before the start")
    return text % values


def guard_label(guard: Guard) -> str:
    """Returns the name of a guard, such as "latency over 0.5 s"."""
    if guard.kind == LATENCY:
        # No line of a list begins with the unit.
        seconds = localized(seconds_text(guard)).replace(" ", "\N{NO-BREAK SPACE}")
        return localized(messages.LATENCY(seconds=seconds))
    return localized(guard_name(guard))


def action_text(guard: Guard) -> str:
    """Returns what a trip of the guard does."""
    return _("holds the plan") if guard.action == "hold" else _("rolls back")


def ratio_text(ratio: float) -> str:
    """Returns a ratio with two digits, or as a whole number from 10 on."""
    if math.isinf(ratio):
        return _("unlimited")
    return _rounded(ratio, 1 if ratio < _EXACT else 0)


def limit_text(limit: float) -> str:
    """Returns a limit of a ratio, as exact as it was written."""
    return _number(limit)


def evidence_text(e_value: float) -> str:
    """Returns an e-value. Beyond a million it only matters that it is large."""
    if e_value > _MILLION:
        return _("over %(number)s") % {"number": local_number(_MILLION)}
    return ratio_text(e_value)


def share_text(part: float, whole: float) -> str:
    """Returns a part of users in percent, or a dash without users."""
    if whole <= 0:
        return NONE
    percent = min(100 * part / whole, 100.0)
    decimals = 0 if not percent else 2 if percent < 1 else 1
    return f"{_rounded(percent, decimals)} %"


def users_text(users: float) -> str:
    """Returns an estimated number of users."""
    return local_number(round(users))


def time_html(at: datetime | None, now: datetime) -> SafeString | str:
    """Returns the time from now, such as "in 2 hours". The tooltip has the date and time."""
    if at is None:
        return ""
    near = (
        _("in %(time)s") % {"time": timeuntil(at, now, depth=1)}
        if at > now
        else _("%(time)s ago") % {"time": timesince(at, now, depth=1)}
    )
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), local_time_text(at), near
    )


def capitalized(text: str) -> str:
    """Returns the text with a capital first letter, as a heading."""
    return str(capfirst(text))


def _rounded(number: float, decimals: int) -> str:
    # Django cuts off the other digits.
    rounded = round(number, decimals)
    return number_format(rounded, decimals, use_l10n=True, force_grouping=True)


def _number(number: float) -> str:
    return number_format(f"{number:g}", use_l10n=True)


_NAME = "flagstaff_now"


def with_time(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns the same plans. `time_of` gives the time at which each was read."""
    return plans.annotate(**{_NAME: ClockTimestamp()})


def time_of(plan: Plan) -> datetime:
    """Returns the time of the database's clock at which the plan was read."""
    now: datetime = vars(plan)[_NAME]
    return now
