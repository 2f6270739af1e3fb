"""The page that restores a flag, a value or a segment to an earlier state."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import Row
from flagstaff._words.text import localized
from flagstaff._words.times import local_time_text
from flagstaff.admin.confirmation import posted_version, preview_rows, problems_of, version_text
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.part import AdminOfParts
from flagstaff.admin.rights import may
from flagstaff.admin.segment_uses import require_reach, segment_rows
from flagstaff.admin.undo.page import change_texts, skipped_text
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import impact_text, text_for_many
from flagstaff.changes.impact import Impact, impact, reached, states_of
from flagstaff.changes.undo import Undone, entries_after, preview_undo, restore_row
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change


def restore_page(admin: AdminOfParts, request: HttpRequest, row: Row, to: int) -> HttpResponse:
    """Restores an earlier state, after a confirmation."""
    if not may(admin.admin_site, request, "change", row):
        raise PermissionDenied
    kind = admin.row_kind
    problems = problems_of(request, text_for_many([row.key]))
    try:
        shown = preview_undo(entries_after(kind, row.key, to), skip_conflicts=False)
        effects = [changed for one in shown if (changed := one.written)]
        reaches = reached([one.before for one in shown], [one.after for one in shown])
        require_reach(admin.admin_site, request, reaches)
    except FlagstaffError as error:
        text = _("Not restored: %(why)s") % {"why": localized(error.message)}
        admin.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.path)
    if not effects:
        text = _("Nothing was changed: “%(key)s” already has these values.") % {"key": row.key}
        admin.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(request.path)
    # Without a confirmation they are None.
    if problems == []:
        return _restore(admin, request, shown[0], to)
    page = {**_page(admin, request, shown[0], effects[0], to), "flagstaff_problems": problems}
    return admin.confirmation(request, row, page)


def _page(
    admin: AdminOfParts, request: HttpRequest, shown: Undone, preview: Changed, to: int
) -> dict[str, object]:
    row, found = shown.before.row, _impact(request, shown)
    at = Change.objects.of_row(shown.kind, shown.pk).values_list("at", flat=True).get(id=to)
    question = _(
        "Restore “%(key)s” to its state after the change of %(time)s? "
        "This reverts all later changes of these fields."
    )
    if BUCKET_BY in (preview.new or ()):
        question = f"{question} {_('This reassigns every user at once.')}"
    return {
        "title": _("Restore an earlier state"),
        # The breadcrumbs of this template are those of the theme.
        "flagstaff_parent": "admin/object_history.html",
        "flagstaff_question": question % {"key": row.key, "time": local_time_text(at)},
        "flagstaff_rows": [
            *preview_rows(request, row, preview),
            *segment_rows(admin.admin_site, request, found),
            *(rows_of_change(admin, [row])[shown.pk] if (Kind.FLAG, row.key) in found else ()),
        ],
        "flagstaff_notes": [*filter(None, [impact_text(found)])],
        "flagstaff_version": version_text(shown.version),
        "flagstaff_label": _("Restore"),
        "flagstaff_typed": text_for_many([row.key]),
        "flagstaff_back": request.path,
    }


def _impact(request: HttpRequest, shown: Undone) -> Impact:
    return impact([shown.before], [shown.after], viewer=request.user)


def _restore(admin: AdminOfParts, request: HttpRequest, shown: Undone, to: int) -> HttpResponse:
    row, users = shown.before.row, impact_text(_impact(request, shown))
    with transaction.atomic(using=conf.database):
        version = posted_version(request)
        changed = restore_row(shown.kind, row.key, to=to, expect_version=version)
        before, after = states_of(shown.kind, changed, row)
        require_reach(admin.admin_site, request, reached([before], [after]))
    text = _("“%(key)s” was restored: %(change)s.") % change_texts(request, changed)
    text += skipped_text(changed.missing)
    admin.log_change(request, row, text)
    admin.report_change(request, changed, text, users=users)
    return HttpResponseRedirect(request.path)
