"""The messages after an undo or a restore."""

from __future__ import annotations

from collections.abc import Collection

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._text.local_formats import local_number
from flagstaff.admin.confirmation import describe_changed

__all__ = ["change_texts", "skipped_text", "undone_text"]


def undone_text(request: HttpRequest, changed: changes.Changed) -> str:
    """Returns the sentence about an undo."""
    if changed.new is None:  # the change was the creation
        return _("“%(key)s” was deleted.") % {"key": changed.key}
    return _("The change of “%(key)s” was undone: %(change)s.") % change_texts(request, changed)


def change_texts(request: HttpRequest, changed: changes.Changed) -> dict[str, str]:
    """Returns the key and the description of a change, for a sentence."""
    return {"key": changed.key, "change": describe_changed(request, changed)}


def skipped_text(missing: Collection[object]) -> str:
    """Returns the sentence about users who no longer exist, after a space; empty without any."""
    if not (count := len(missing)):
        return ""
    text = ngettext(
        "%(count)s user no longer exists and was skipped.",
        "%(count)s users no longer exist and were skipped.",
        count,
    )
    return f" {text % {'count': local_number(count)}}"
