"""What uses segments as a user may see it, and whether the user may change the segments."""

from __future__ import annotations

from functools import partial

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.rule_parts import named_segments
from flagstaff._words.text import local_list, local_number, localized, quoted
from flagstaff.actions.rights import lacking
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.rights import may, may_see
from flagstaff.changes.consequence import use_texts
from flagstaff.changes.row_states import Impact
from flagstaff.changes.segment_use import SegmentInUseError, uses_by_segment
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind

# The flags and experiments that a page lists.
_MAX_ROWS = 50


def require_reach(site: AdminSite, request: HttpRequest, reached: Impact) -> None:
    """Refuses a change, or its preview, without the right for all flags that it reaches.

    Raises PermissionDenied, or InvalidChangeError with what uses a segment that changes.
    """
    missing = lacking(partial(may, site, request), reached)
    if not missing:
        return
    if any((one.kind, one.row.key) in reached.rows for one in missing):
        raise PermissionDenied
    rows = [one.row for one in missing]
    names = [quoted(row.key) for row in rows if may_see(site, request, type(row), row.pk)]
    if hidden := len(rows) - len(names):
        text = ngettext(
            "%(count)s key that you may not see", "%(count)s keys that you may not see", hidden
        )
        names.append(text % {"count": local_number(hidden)})
    used = {key for row in rows for key, _place in named_segments(row.rules)}
    keys = [quoted(key) for kind, key in reached.rows if kind is Kind.SEGMENT and key in used]
    text = ngettext(
        "you need the permission to change or toggle %(flags)s, whose rules use the segment "
        "%(keys)s",
        "you need the permission to change or toggle %(flags)s, whose rules use the segments "
        "%(keys)s",
        len(keys),
    )
    raise InvalidChangeError(text % {"flags": local_list(names), "keys": local_list(keys)})


def visible_refusal(site: AdminSite, request: HttpRequest, error: FlagstaffError) -> str:
    """Returns a message in the user's language, without flags and experiments the user may not see.

    Queries the experiments if it says what uses a segment.
    """
    if isinstance(error, SegmentInUseError):
        uses = uses_by_segment()[error.key]
        if not uses or not all(may_see(site, request, use.model, use.row.pk) for use in uses):
            hidden = _("flags, values and experiments that you may not see")
            error = SegmentInUseError(error.key, hidden)
    return localized(error.message)


def segment_rows(site: AdminSite, request: HttpRequest, found: Impact) -> list[PreviewRow]:
    """Returns a line for what uses a segment: how many users have it now, and afterwards.

    Those that the user may not see are a number. Empty if no segment changes.
    """
    sees = partial(may_see, site, request)
    visible = [use for use in found.uses if sees(use.model, use.row.pk)]
    numbers = {
        _("more flags, values and experiments"): len(visible) - _MAX_ROWS,
        _("flags, values and experiments that you may not see"): len(found.uses) - len(visible),
    }
    rows = [PreviewRow(use.label(), *use_texts(found, use)) for use in visible[:_MAX_ROWS]]
    counts = ((label, local_number(count)) for label, count in numbers.items() if count > 0)
    return [*rows, *(PreviewRow(label, count, count) for label, count in counts)]
