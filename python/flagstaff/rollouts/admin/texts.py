"""A plan in words: its state, step, guards and times, in the language of the request."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _

from flagstaff._words.text import Text, local_number, localized
from flagstaff._words.times import ago, local_time_text
from flagstaff.admin.words import badge
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.guards import FUNCTION, LATENCY, Guard, guard_name, seconds_text
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.verdict import times

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"

_ALL = 100


def state_label(plan: Plan) -> SafeString:
    """Returns the state as a coloured label."""
    return badge(plan.state, state_name(plan))


def search_texts(plan: Plan) -> tuple[SafeString, str]:
    """Returns the state and why it is so, for the search."""
    return state_label(plan), plan.reason


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


def state_sentence(plan: Plan, now: datetime, *, with_reason: bool = True) -> str:
    """Returns the state and its reason as one sentence."""
    text = _state_text(plan, now)
    if plan.reason and with_reason:
        return _("%(state)s — %(reason)s") % {"state": text, "reason": plan.reason}
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
    if plan.state == State.RUNNING and plan.due_at is not None and plan.due_at > now:
        text = _("Step %(step)s of %(steps)s, %(percent)s %%, until %(time)s or later")
        values["time"] = local_time_text(plan.due_at)
    return text % values


def guard_label(guard: Guard) -> str:
    """Returns the name of a guard, such as "latency over 0.5 s"."""
    if guard.kind == LATENCY:
        # No line of a list begins with the unit.
        seconds = localized(seconds_text(guard)).replace(" ", "\N{NO-BREAK SPACE}")
        return localized(Text("latency over {seconds}", seconds=seconds))
    return localized(guard_name(guard))


def action_text(guard: Guard) -> str:
    """Returns what a trip of the guard does."""
    return _("holds the plan") if guard.action == "hold" else _("rolls back")


def guard_heading(guard: Guard) -> str:
    """Returns the name of a guard as it begins a line. A path is not changed."""
    label = guard_label(guard)
    return label if guard.kind == FUNCTION else capitalized(label)


def guard_passes(guard: Guard) -> str:
    """Returns when a step passes."""
    if guard.kind == FUNCTION:
        return _("the function returns True")
    text = _("users with the flag fail less than %(limit)s times as often")
    if guard.tolerated > 1:
        text = _(
            "users with the flag fail less than %(limit)s times as often; up to %(tolerated)s "
            "times is tolerated"
        )
    return text % {"limit": limit_text(guard.limit), "tolerated": limit_text(guard.tolerated)}


def ratio_text(ratio: float) -> str:
    """Returns a ratio with two significant digits."""
    if math.isinf(ratio):
        return _("unlimited")
    return _plain(times(ratio))


def limit_text(limit: float) -> str:
    """Returns a limit of a ratio, as exact as it was written."""
    return _number(limit)


def share_text(part: float, whole: float) -> str:
    """Returns a part of users in percent, or a dash without users."""
    return f"{_plain(_percent(part, whole))} %" if whole > 0 else NONE


def _percent(part: float, whole: float) -> float:
    """Returns a share with two significant digits; of one near 100 %, those of the rest."""
    share = min(_ALL * part / whole, _ALL)
    rounded = times(share)
    return rounded if rounded < _ALL or share == _ALL else round(_ALL - times(_ALL - share), 10)


def users_text(users: float) -> str:
    """Returns an estimated number of users."""
    return local_number(round(users))


def time_html(at: datetime | None, now: datetime) -> SafeString | str:
    """Returns the time from now, such as "in 2 hours". The tooltip has the date and time."""
    if at is None:
        return ""
    near = _("in %(time)s") % {"time": timeuntil(at, now, depth=1)} if at > now else ago(at, now)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), local_time_text(at), near
    )


def capitalized(text: str) -> str:
    """Returns the text with a capital first letter, as a heading."""
    return str(capfirst(text))


def _plain(number: float) -> str:
    """Returns a number that is rounded already. Django would cut off digits, not round."""
    return number_format(Decimal(str(number)), use_l10n=True, force_grouping=True)


def _number(number: float) -> str:
    return number_format(f"{number:g}", use_l10n=True)


_NAME = "flagstaff_now"


def with_time(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns the same plans. `time_of` gives the time at which each was read."""
    return plans.annotate(**{_NAME: ClockTimestamp()})


def time_of(plan: Plan) -> datetime:
    """Returns the time of the database's clock at which the plan was read."""
    now: datetime = getattr(plan, _NAME)
    return now
