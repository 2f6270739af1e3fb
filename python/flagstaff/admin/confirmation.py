"""What a page that asks for a confirmation shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest

from flagstaff._tables.rows import Row
from flagstaff._text import is_whole_number, local_number, say
from flagstaff.admin.rights import may_see
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import use_texts
from flagstaff.changes.row_states import Impact
from flagstaff.history.describe import (
    Names,
    describe_actor,
    describe_change,
    describe_rules,
    describe_sides,
    field_label,
)
from flagstaff.history.log import Event
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users

#: The length of each value on the pages of the history.
MAX_TEXT = 300
# The length of each value in a message.
_MAX_VALUE = 120
# The flags and experiments that use a segment, on one page.
_MAX_USES = 50
# The digits of the largest version.
_MAX_DIGITS = 19


@dataclass(frozen=True)
class PreviewRow:
    """A line of the page."""

    field: str
    now: str
    after: str


def describe_events(request: HttpRequest, events: Sequence[Event]) -> list[str]:
    """Returns by whom and how rows were changed, as the history says it. Makes two queries."""
    actors = names_of_actors(events)
    users = names_of_users(events) if may_see_users(request.user) else None
    return [f"{describe_actor(event, actors)}: {describe_change(event, users)}" for event in events]


def parse_version(text: str | None) -> int:
    """Returns the number of a version. Raises Http404 for anything else."""
    if text is None or not is_whole_number(text, _MAX_DIGITS):
        raise Http404
    return int(text)


def preview_rows(request: HttpRequest, row: Row, planned: Changed) -> list[PreviewRow]:
    """Returns a line for each field that a planned change would write. Secret values are masked.

    Of rules there is a line for each one that differs.
    """
    lines = []
    for difference in planned.differences:
        label, rules = field_label(difference.field), describe_rules(difference, MAX_TEXT)
        if rules:
            lines += [PreviewRow(label, change.old, change.new) for change in rules]
        else:
            lines.append(PreviewRow(label, *describe_sides(difference, MAX_TEXT)))
    if planned.added.count or planned.removed.count:
        lines.append(_users(request, row, planned))
    return lines


def segment_rows(site: AdminSite, request: HttpRequest, impact: Impact) -> list[PreviewRow]:
    """Returns a line for what uses a segment: how many users have it now, and afterwards.

    Those that the user may not see are a number. Empty if no segment changes.
    """
    sees = partial(may_see, site, request)
    visible = [use for use in impact.uses if sees(use.model, use.row.pk)]
    numbers = {
        say("more flags, values and experiments").local: len(visible) - _MAX_USES,
        say("flags, values and experiments that you may not see").local: len(impact.uses)
        - len(visible),
    }
    rows = [PreviewRow(use.label(), *use_texts(impact, use)) for use in visible[:_MAX_USES]]
    counts = ((label, local_number(count)) for label, count in numbers.items() if count > 0)
    return [*rows, *(PreviewRow(label, count, count) for label, count in counts)]


def describe_changed(request: HttpRequest, changed: Changed, limit: int = _MAX_VALUE) -> str:
    """Describes the fields that a change has written, as the history does.

    `limit` is the length of each value.
    """
    return describe_change(changed, _names(request, changed), limit=limit)


def _users(request: HttpRequest, row: Row, planned: Changed) -> PreviewRow:
    old, new = ({ALLOWED: (side or {}).get(ALLOWED, ())} for side in (planned.old, planned.new))
    users = replace(planned, old=old, new=new)
    now = len(allowed_pks(row))
    after = count_of_users(now + users.added.count - users.removed.count)
    text = f"{after}: {describe_change(users, _names(request, users))}"
    return PreviewRow(field_label(ALLOWED), count_of_users(now), text)


def _names(request: HttpRequest, changed: Changed) -> Names | None:
    return names_of_users([changed]) if may_see_users(request.user) else None


def count_of_users(count: int) -> str:
    """Returns the number of users, such as "1 user"."""
    return say("{count} user", "{count} users", count=count).local
