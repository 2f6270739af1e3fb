"""Whether somebody else has changed the flag of a plan, and who did what."""

from __future__ import annotations

from collections.abc import Mapping

from flagstaff._tables.rows import FlagRow
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

    The row of the flag must be locked. Makes a few queries.
    """
    if flag is None or str(flag.pk) != plan.flag_pk:
        return "the flag was deleted"
    version = version_of(Kind.FLAG, flag.pk)
    if version == plan.flag_version:
        return None
    events = events_of(Kind.FLAG, flag.pk, after=plan.flag_version or 0, limit=_MAX_EVENTS)
    if not events:
        return "the history of the flag was changed"
    names = readable_names_of_actors(events)
    return "; ".join(_describe(event, names) for event in reversed(events))


def _describe(event: Event, names: Mapping[str, str]) -> str:
    # An actor is any text, also one of several lines.
    actor = " ".join(describe_actor(event, names).split())
    return f"{actor} changed the flag: {describe_change(event, limit=_MAX_VALUE)}"
