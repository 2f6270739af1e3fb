"""What needs a person, in few words, and what a guard has found, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import local_number, localized
from flagstaff.rollouts.admin.texts import guard_label
from flagstaff.rollouts.attention import acted_on, needs_attention
from flagstaff.rollouts.guards import ERROR_NUMBER, guards_from_json, numbered
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import plan_percent, rollout_difference
from flagstaff.rollouts.unguarded import is_unguarded


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
    counts = _counts(plan)
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
    counts = _counts(plan)
    if counts is None:
        return None
    guard = dict(numbered(guards_from_json(plan.guards))).get(counts["number"])
    return guard_label(guard) if guard else ""


def since_text(inside: int, outside: int) -> str:
    """Returns what was counted after a trip; empty if nothing was."""
    if not (inside or outside):
        return ""
    text = _("Counted since then: %(inside)s more with the flag, %(outside)s more without it.")
    return text % {"inside": local_number(inside), "outside": local_number(outside)}


def _with_percent(plain: str, at: str, plan: Plan) -> str:
    percent = plan_percent(plan)
    return plain if percent is None else at % {"percent": percent}


def _found_text(plan: Plan) -> str:
    counts = _counts(plan)
    if counts is None:
        return plan.trip_reason
    slower = _("%(inside)s of %(users_inside)s users were slower")
    failed = _("%(inside)s of %(users_inside)s users failed")
    return (slower if counts["is_slower"] else failed) % counts


def _counts(plan: Plan) -> Mapping[str, Any] | None:
    """Returns the counts of a trip as texts; None if no trip was found by counts."""
    figures = plan.trip_figures or {}
    if not figures.get("by_statistics"):
        return None
    # Without a guard, it was the brake, which counts errors.
    guard = next((one for one in figures["guards"] if one["name"] == figures["trip"]), None)
    failed = guard["failed"] if guard else {"inside": figures["errors_inside"], "outside": 0}
    return {
        "inside": local_number(failed["inside"]),
        "users_inside": local_number(figures["users_inside"]),
        "outside": local_number(failed["outside"]) if failed["outside"] else _("none"),
        "users_outside": local_number(figures["users_outside"]),
        "is_slower": bool(guard and guard["number"] != ERROR_NUMBER),
        "number": guard and guard["number"],
    }
