"""What needs a person, in few words, and what a guard has found, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import Message, localized
from flagstaff.rollouts import messages
from flagstaff.rollouts.attention import acted_on, needs_attention
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import plan_percent, rollout_difference
from flagstaff.rollouts.unguarded import is_unguarded

_SLOWER = {messages.SLOWER.code, messages.SLOWER_TIMES.code}
_FAILED = {messages.FAILED.code, messages.FAILED_TIMES.code, messages.BRAKE.code}


def attention_text(plan: Plan, flag: FlagRow | None, now: datetime) -> str:
    """Returns why somebody must look at a plan, in a few words; empty if nobody must.

    Makes a query if the rules of the flag of a plan that was rolled back name segments.
    """
    if is_unguarded(plan, now):
        return _with_percent(_("plan unguarded"), _("plan unguarded at %(percent)s %%"), plan)
    if not needs_attention(plan) or acted_on([plan], [] if flag is None else [flag]):
        return ""
    if plan.state == State.PAUSED and (text := difference_text(plan, flag)):
        return text
    if plan.state == State.HOLDING:
        return _with_percent(_("plan holds"), _("plan holds at %(percent)s %%"), plan)
    if plan.has_tripped:
        label, at = _("not rolled back yet"), _("not rolled back yet at %(percent)s %%")
    elif plan.state == State.ROLLED_BACK:
        label, at = _("rolled back"), _("rolled back at %(percent)s %%")
    else:
        return _with_percent(_("plan paused"), _("plan paused at %(percent)s %%"), plan)
    texts = {"label": _with_percent(label, at, plan), "why": _found_text(plan)}
    return _("%(label)s: %(why)s") % texts


def difference_text(plan: Plan, flag: FlagRow | None) -> str:
    """Returns where flag and plan are, if they differ. A plan that was rolled back has let go."""
    differs = None if plan.state == State.ROLLED_BACK else rollout_difference(plan, flag)
    return "" if differs is None else localized(differs)


def trip_sentence(plan: Plan) -> str:
    """Returns who has failed at a trip, with the flag and without it; empty without counts."""
    counts = _counts(found_by_guard(plan))
    if counts is None:
        return ""
    slower = _(
        "%(inside)s of %(users_inside)s users with the flag were slower, %(outside)s of "
        "%(users_outside)s without it"
    )
    failed = _(
        "%(inside)s of %(users_inside)s users with the flag failed, %(outside)s of "
        "%(users_outside)s without it"
    )
    text = (slower if counts["is_slower"] else failed) % counts
    if plan.state != State.ROLLED_BACK:
        then = _("run-jobs will roll the plan back")
        text = _("%(label)s: %(why)s") % {"label": text, "why": then}
    # The label says that the plan was rolled back.
    return _("%(sentence)s.") % {"sentence": text}


def guard_of_trip(plan: Plan) -> str | None:
    """Returns the guard that has found harm by counts, "" for the brake; None if none has."""
    counts = _counts(found_by_guard(plan))
    return None if counts is None else localized(counts["guard"])


def since_text(inside: int, outside: int) -> str:
    """Returns what was counted after a trip; empty if nothing was."""
    if not (inside or outside):
        return ""
    text = _("Counted since then: %(inside)s more with the flag, %(outside)s more without it.")
    return text % {"inside": local_number(inside), "outside": local_number(outside)}


def _with_percent(plain: str, at: str, plan: Plan) -> str:
    percent = plan_percent(plan)
    return plain if percent is None else at % {"percent": percent}


def found_by_guard(plan: Plan) -> str:
    """Returns what a guard has found, without what became of it."""
    if plan.has_tripped:
        return plan.trip_reason
    reason = plan.reason
    if isinstance(reason, Message) and reason.code == messages.TRIPPED.code:
        return cast("str", reason.values["why"])
    return reason


def _found_text(plan: Plan) -> str:
    found = found_by_guard(plan)
    counts = _counts(found)
    if counts is None:
        return localized(found)
    slower = _("%(inside)s of %(users_inside)s users were slower")
    failed = _("%(inside)s of %(users_inside)s users failed")
    return (slower if counts["is_slower"] else failed) % counts


def _counts(found: str) -> Mapping[str, Any] | None:
    """Returns the counts of a trip as texts; None if it was not found by counts."""
    if isinstance(found, Message) and found.code == messages.NEW_VISITORS.code:
        found = cast("str", found.values["what"])
    if not isinstance(found, Message) or found.code not in {*_SLOWER, *_FAILED}:
        return None
    values = {"outside": 0, "users_outside": found.values.get("users", 0), **found.values}
    texts = {
        name: local_number(cast("int", values[name]))
        for name in ("inside", "users_inside", "outside", "users_outside")
    }
    is_none = not values["outside"]
    return {
        **texts,
        "outside": _("none") if is_none else texts["outside"],
        "is_slower": found.code in _SLOWER,
        "guard": found.values.get("guard", ""),
    }
