"""What a page that asks for a confirmation shows, and what it posts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import Row
from flagstaff._words.text import is_whole_number, local_number
from flagstaff.admin.views import (
    reason_problem,
)
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks
from flagstaff.changes.changed import Changed
from flagstaff.history.describe import (
    Names,
    describe_actor,
    describe_change,
    describe_sides,
    field_label,
)
from flagstaff.history.log import Event
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users

#: The name of the field that confirms.
CONFIRMED = "_confirmed"
#: The name of the field in which a person types the key.
TYPED_KEY = "_typed_key"
#: The length of each value on the pages of the history.
MAX_TEXT = 300
# The length of each value in a message.
_MAX_VALUE = 120
# The digits of the largest version.
_MAX_DIGITS = 19


@dataclass(frozen=True)
class PreviewRow:
    """A line of the page."""

    field: str
    now: str
    after: str


def answer_problems(request: HttpRequest, typed: str, *, needs_reason: bool) -> Iterator[str]:
    """Yields what is wrong with the text that a person had to type, and with the reason."""
    # An input of one line has no line breaks, and a page shows several blanks as one.
    if typed and request.POST.get(TYPED_KEY, "").split() != typed.split():
        yield _("Not confirmed: type “%(text)s” exactly.") % {"text": typed}
    if needs_reason and (problem := reason_problem(request)):
        yield problem


def describe_events(request: HttpRequest, found: Sequence[Event]) -> list[str]:
    """Returns by whom and how rows were changed, as the history says it. Makes two queries."""
    actors = names_of_actors(found)
    users = names_of_users(found) if may_see_users(request.user) else None
    return [f"{describe_actor(one, actors)}: {describe_change(one, users)}" for one in found]


def parse_version(text: str | None) -> int:
    """Returns the number of a version. Raises Http404 for anything else."""
    if text is None or not is_whole_number(text, _MAX_DIGITS):
        raise Http404
    return int(text)


def preview_rows(request: HttpRequest, row: Row, planned: Changed) -> list[PreviewRow]:
    """Returns a line for each field that a planned change would write. Secret values are masked."""
    lines = [
        PreviewRow(field_label(difference.field), *describe_sides(difference, MAX_TEXT))
        for difference in planned.differences
    ]
    if planned.added.count or planned.removed.count:
        lines.append(_users(request, row, planned))
    return lines


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
    return ngettext("%(count)s user", "%(count)s users", count) % {"count": local_number(count)}
