"""How many users get which value, and how many get another one by a change of the page."""

from __future__ import annotations

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.value_impact import (
    ResultUsers,
    ValueImpact,
    ValueReach,
    impact_of_value_change,
)
from flagstaff._tables.value_states import ValueState
from flagstaff._words.text import Text, local_number, localized
from flagstaff.changes.planned import COUNT_TIMEOUT
from flagstaff.exceptions import FlagstaffError


def count_users(key: str, before: ValueState, after: ValueState) -> ValueImpact | None:
    """Returns the effect of a change; None if the users cannot be counted in time, or at all."""
    try:
        return impact_of_value_change(key, before, after, timeout=COUNT_TIMEOUT)
    except FlagstaffError:
        return None


def notes_of(reach: ValueReach | None) -> list[str]:
    """Returns the users of each rule, and of the value itself; empty if they are not counted."""
    if reach is None:
        return []
    own, *rules = reach.by_result
    return [_note(one) for one in (*rules, own)]


def changed_text(impact: ValueImpact | None) -> str:
    """Returns how many users get another value by a change."""
    if impact is None:
        return localized(Text("The users cannot be counted."))
    text = ngettext(
        "The value changes for %(count)s of %(users)s user.",
        "The value changes for %(count)s of %(users)s users.",
        impact.users,
    )
    return _counted(text, impact.changed, impact)


def kept_text(impact: ValueImpact | None) -> str:
    """Returns how many users do not get the value itself after a change, because of its rules."""
    if impact is None or not (impact.others or impact.is_exact):
        return _("The rules stay: users for whom a rule decides keep another value.")
    text = ngettext(
        "The rules stay: %(count)s of %(users)s user keeps another value.",
        "The rules stay: %(count)s of %(users)s users keep another value.",
        impact.users,
    )
    return _counted(text, impact.others, impact)


def _note(result: ResultUsers) -> str:
    count = result.users
    if not count and result.unsure:
        return _("not counted")
    text = (
        ngettext("at least %(count)s user", "at least %(count)s users", count)
        if result.unsure
        else ngettext("%(count)s user", "%(count)s users", count)
    )
    return text % {"count": local_number(count)}


def _counted(text: str, count: int, impact: ValueImpact) -> str:
    numbers = {"count": local_number(count), "users": local_number(impact.users)}
    if impact.is_exact:
        return text % numbers
    unknown = _(
        "Not all users can be counted, because rules read attributes that only a call knows."
    )
    if not count:
        return unknown
    numbers["count"] = _("at least %(count)s") % numbers
    return f"{capfirst(text % numbers)} {unknown}"
