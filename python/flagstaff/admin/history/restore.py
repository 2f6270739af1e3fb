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
from flagstaff.admin.segment.plan import segment_rows
from flagstaff.admin.undo.permissions import require_release
from flagstaff.admin.undo.preview import change_texts, skipped_text
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import impact_text, text_for_many
from flagstaff.changes.impact import Impact, impact, states_of
from flagstaff.changes.restore_version import RESTORE_BY_KIND, preview_restore
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import may_see_users
from flagstaff.history.versions import entries


def restore_page(admin: AdminOfParts, request: HttpRequest, row: Row, to: int) -> HttpResponse:
    """Restores an earlier state, after a confirmation."""
    if not admin.has_change_permission(request, row):
        raise PermissionDenied
    problems = problems_of(request, text_for_many([row.key]))
    # Without a confirmation they are None.
    if problems == []:
        return _report(admin, request, row, _restore(admin, request, row, to))
    try:
        preview = preview_restore(admin.row_kind, row.key, to)
        require_release(admin.admin_site, request, [(admin.row_kind, preview)])
    except FlagstaffError as error:
        text = _("Not restored: %(why)s") % {"why": localized(error.message)}
        admin.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.path)
    if not preview.new:
        return _report(admin, request, row, preview)
    page = {**_page(admin, request, row, preview, to), "flagstaff_problems": problems}
    return admin.confirmation(request, row, page)


def _page(
    admin: AdminOfParts, request: HttpRequest, row: Row, preview: Changed, to: int
) -> dict[str, object]:
    at = entries(admin.row_kind, row.pk).values_list("at", flat=True).get(id=to)
    question = _(
        "Restore “%(key)s” to its state after the change of %(time)s? "
        "This reverts all later changes of these fields."
    )
    if BUCKET_BY in preview.new:
        question = f"{question} {_('This reassigns every user at once.')}"
    found = _impact(admin, request, row, preview)
    decides = (Kind.FLAG, row.key) in found
    return {
        "title": _("Restore an earlier state"),
        # The breadcrumbs of this template are those of the theme.
        "flagstaff_parent": "admin/object_history.html",
        "flagstaff_question": question % {"key": row.key, "time": local_time_text(at)},
        "flagstaff_rows": [
            *preview_rows(request, row, preview),
            *segment_rows(admin.admin_site, request, found),
            *(rows_of_change(admin, [row])[str(row.pk)] if decides else ()),
        ],
        "flagstaff_notes": [*filter(None, [impact_text(found)])],
        "flagstaff_version": version_text(preview.version),
        "flagstaff_label": _("Restore"),
        "flagstaff_typed": text_for_many([row.key]),
        "flagstaff_back": request.path,
    }


def _impact(admin: AdminOfParts, request: HttpRequest, row: Row, changed: Changed) -> Impact:
    before, after = states_of(admin.row_kind, changed, row)
    return impact([before], [after], is_coarse=not may_see_users(request.user))


def _restore(admin: AdminOfParts, request: HttpRequest, row: Row, to: int) -> Changed:
    with transaction.atomic(using=conf.database):
        changed = RESTORE_BY_KIND[admin.row_kind](
            row.key, to=to, expect_version=posted_version(request)
        )
        require_release(admin.admin_site, request, [(admin.row_kind, changed)])
    return changed


def _report(admin: AdminOfParts, request: HttpRequest, row: Row, changed: Changed) -> HttpResponse:
    if changed.written:
        text = _("“%(key)s” was restored: %(change)s.") % change_texts(request, changed)
        text += skipped_text(changed.missing)
        admin.log_change(request, row, text)
        users = impact_text(_impact(admin, request, row, changed))
        admin.report_change(request, changed, text, users=users)
    else:
        text = _("Nothing was changed: “%(key)s” already has these values.") % {"key": row.key}
        admin.message_user(request, text, messages.WARNING)
    return HttpResponseRedirect(request.path)
