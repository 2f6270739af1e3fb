"""The confirmation page and the message of an undo of several changes."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.lists import join_some
from flagstaff._words.local_formats import local_number
from flagstaff.admin.confirmation import MAX_TEXT, PreviewRow
from flagstaff.admin.history_texts import skipped_text
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.admin.reports import SAVE_TIMEOUT, ReportMixin
from flagstaff.admin.segment_plan import segment_rows
from flagstaff.admin.transactions import described_parts
from flagstaff.changes import Changed
from flagstaff.changes.change_plan import ChangePlan, plan_segment_changes, plan_text
from flagstaff.history.describe import and_more, quoted
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import Part
from flagstaff.history.user_names import may_see_users


def transaction_context(
    site: AdminSite,
    request: HttpRequest,
    parts: Sequence[Part],
    planned: Sequence[tuple[Kind, Changed]],
    change: int,
) -> dict[str, object]:
    """Returns what the page shows that asks to undo a transaction. Counts users."""
    label = ngettext("Undo all %(count)s", "Undo all %(count)s", len(parts))
    with_users = may_see_users(request.user)
    notes, uses = effect_of(site, request, plan_segment_changes(planned))
    return {
        "title": _("Undo all changes of a transaction"),
        "flagstaff_parts": described_parts(parts, with_users=with_users, limit=MAX_TEXT),
        "flagstaff_version": None,
        "flagstaff_target": str(change),
        "flagstaff_label": label % {"count": local_number(len(parts))},
        "flagstaff_notes": notes,
        "flagstaff_uses": uses,
    }


def effect_of(
    site: AdminSite, request: HttpRequest, plan: ChangePlan | None
) -> tuple[list[str], list[PreviewRow]]:
    """Returns what a page shows of the effect on users: a sentence, and a row for each use."""
    note = plan_text(plan)
    return [note] if note else [], segment_rows(site, request, plan)


def refusal_context(why: str, problems: list[str] | None) -> dict[str, object]:
    """Returns the problems of a page. An undo that is refused has neither question nor button."""
    if not why:
        return {"flagstaff_problems": problems}
    text = _("This cannot be undone: %(why)s")
    return {
        "flagstaff_problems": [text % {"why": why}],
        "flagstaff_question": "",
        "flagstaff_nothing": True,
    }


def report_undone(
    model_admin: ReportMixin, request: HttpRequest, done: Sequence[Changed], text: str = ""
) -> None:
    """Shows a message about changes that are undone and committed. Waits for the workers.

    `text` replaces the list of keys. The link in the message undoes the undo.
    """
    written = [one for one in done if one.written]
    if not written:
        nothing = _("Nothing was changed: there is nothing to undo.")
        model_admin.message_user(request, nothing, messages.WARNING)
        return
    if not text:
        keys = join_some((quoted(one.key) for one in written), more=and_more)
        text = _("Undone: %(keys)s.") % {"keys": keys}
    text += skipped_text({pk for one in written for pk in one.missing})
    versions = [one.version for one in written if one.version]
    url = undo_url(model_admin.admin_site, versions) if versions else ""
    model_admin.report_applied(request, text, timeout=SAVE_TIMEOUT, undo_url=url)
