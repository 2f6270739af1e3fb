"""Whether somebody else has changed the flag of a plan, and who did what."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError

from flagstaff._tables.rows import FlagRow, all_rows
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.user_names import readable_names_of_actors
from flagstaff.history.versions import version_of
from flagstaff.rollouts.models import Plan

__all__ = ["foreign_change"]

_MAX_EVENTS = 3
_MAX_VALUE = 80


def foreign_change(plan: Plan, flag: FlagRow | None) -> str | None:
    """Returns what somebody else did to the flag since the plan saw it, or None.

    The row of the flag must be locked. Makes a few queries. A flag with another key has other users
    inside, so the plan does not follow it.
    """
    if flag is None or str(flag.pk) != plan.flag_pk:
        renamed = _present_key(plan)
        return f"the flag was renamed to {renamed}" if renamed else "the flag was deleted"
    version = version_of(Kind.FLAG, flag.pk)
    if version == plan.flag_version:
        return None
    events = events_of(Kind.FLAG, flag.pk, after=plan.flag_version or 0, limit=_MAX_EVENTS)
    if not events:
        return "the history of the flag was changed"
    names = readable_names_of_actors(events)
    return "; ".join(_describe(event, names) for event in reversed(events))


def _present_key(plan: Plan) -> str | None:
    try:
        with_pk = all_rows(conf.flag_model).filter(pk=plan.flag_pk)
    except (ValueError, ValidationError):
        # SQL has written a text that is no primary key.
        return None
    key: str | None = with_pk.values_list("key", flat=True).first()
    return key


def _describe(event: Event, names: Mapping[str, str]) -> str:
    # An actor is any text, also one of several lines.
    actor = " ".join(describe_actor(event, names).split())
    return f"{actor} changed the flag: {describe_change(event, limit=_MAX_VALUE)}"
