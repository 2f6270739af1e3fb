"""Whether somebody else has changed the flag of a plan, and who did what.

The plan compares the row with what it saw or wrote last, because a change may have left no entry in
the history. The entries say who it was, and are the only trace of changed allowed users.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from hashlib import sha256
from typing import Any

from django.core.exceptions import ValidationError

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import FlagRow, all_rows, flag_row
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_change, describe_difference
from flagstaff.history.differences import Difference
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, version_of
from flagstaff.history.user_names import readable_names_of_actors
from flagstaff.rollouts.models import Plan

_MAX_EVENTS = 3
_MAX_VALUE = 80
# The number of changes since the last run that are read.
_MAX_READ = 1000

_ENABLED, _PERCENT = "enabled", "rollout_percent"
# A flag with another key has other users inside.
_DECIDING = {"key", _ENABLED, _PERCENT, BUCKET_BY, RULES}


def what_decides(flag: FlagRow) -> dict[str, Any]:
    """Returns what decides who has a flag, besides the allowed users: three fields and a digest."""
    rules = json.dumps(flag.rules, sort_keys=True, default=str)
    return {
        _ENABLED: flag.enabled,
        _PERCENT: flag.rollout_percent,
        BUCKET_BY: flag.bucket_by,
        RULES: sha256(rules.encode()).hexdigest(),
    }


def see_flag(plan: Plan, version: int | None) -> None:
    """Notes the present row of the flag, which must be locked. The plan is not saved."""
    plan.seen_flag = what_decides(flag_row(plan.key, lock=True))
    plan.flag_version = version


def foreign_change(plan: Plan, flag: FlagRow | None) -> str | None:
    """Returns what somebody else did to the flag since the plan saw it, or None.

    The row of the flag must be locked. Makes a few queries. Changes that cannot change who has the
    flag are none: the plan then gets the new version, and is not saved. A flag with another key has
    other users inside, so the plan does not follow it.
    """
    if flag is None or str(flag.pk) != plan.flag_pk:
        renamed = _present_key(plan)
        return (
            Text("the flag was renamed to {key}", key=renamed)
            if renamed
            else Text("the flag was deleted")
        )
    version = version_of(Kind.FLAG, flag.pk)
    newer: Sequence[Change] = ()
    # Without a history, which no step can do without, a trip still compares the row.
    if version is not None and version != plan.flag_version:
        entries = Change.objects.of_row(Kind.FLAG, flag.pk).filter(id__gt=plan.flag_version or 0)
        newer = [*entries.short().newest()[:_MAX_READ]]
        if not newer:
            return Text("the history of the flag was changed")
    if deciding := _deciding(events(newer))[:_MAX_EVENTS]:
        names = readable_names_of_actors(deciding)
        oldest_first = [_describe(event, names) for event in reversed(deciding)]
        return reduce(
            lambda first, then: Text("{first}; {then}", first=first, then=then), oldest_first
        )
    if differences := _differences(plan.seen_flag, what_decides(flag)):
        return Text(
            "the flag was changed, and the history does not say by whom: {change}",
            change=differences,
        )
    if len(newer) == _MAX_READ:
        return Text("the flag was changed more than {limit} times", limit=_MAX_READ)
    plan.flag_version = plan.flag_version if version is None else version
    return None


def _deciding(newest_first: Iterable[Event]) -> list[Event]:
    """Those of the events that may have changed who has the flag."""
    return [event for event in newest_first if _decides(event)]


def _decides(event: Event) -> bool:
    """Whether an event may have changed who has the flag. One without details may have."""
    if event.action != "change" or event.added.count or event.removed.count:
        return True
    fields = {one.field for one in event.differences}
    return not event.differences or not fields.isdisjoint(_DECIDING)


def _differences(seen: Any, present: Mapping[str, Any]) -> str:
    before = seen if isinstance(seen, dict) else {}
    return ", ".join(
        "other rules"
        if name == RULES
        else str(describe_difference(Difference(name, before.get(name), now)))
        for name, now in present.items()
        if before.get(name) != now
    )


def _present_key(plan: Plan) -> str | None:
    try:
        with_pk = all_rows(conf.flag_model).filter(pk=plan.flag_pk)
    except (ValueError, ValidationError):
        # SQL has written a text that is no primary key.
        return None
    key: str | None = with_pk.values_list("key", flat=True).first()
    return key


def _describe(event: Event, names: Mapping[str, str]) -> Text:
    # An actor is any text, also one of several lines.
    actor = " ".join(describe_actor(event, names).split())
    change = describe_change(event, limit=_MAX_VALUE)
    return Text("{actor} changed the flag: {change}", actor=actor, change=change)
