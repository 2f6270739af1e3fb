"""The history of a flag or a value in the admin, with a button that takes a change back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from flagstaff import changes
from flagstaff.admin.attribution import REASON
from flagstaff.admin.transactions import beside, in_words, may_undo
from flagstaff.conf import conf
from flagstaff.history import Event, Users, as_csv
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.transactions import parts_of
from flagstaff.history.users import may_see_users, names_of_actors, names_of_users
from flagstaff.history.versions import has_history, version_of

__all__ = ["HistoryMixin"]

_PAGE = 50
_UNDO, _UNDO_ALL, _RESTORE, _SURE = "_undo", "_undo_all", "_restore", "_sure"
_MOST_NAMED = 10
# Of any version. Python itself refuses to read very long ones.
_LONGEST_NUMBER = 19

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

_UNDOS = {Kind.FLAG: changes.undo, Kind.VALUE: changes.undo_value}
_RESTORES = {Kind.FLAG: changes.restore, Kind.VALUE: changes.restore_value}


class HistoryMixin(_ModelAdmin):
    """Goes before ModelAdmin, whose own history knows of the admin's changes alone."""

    kind = Kind.FLAG
    object_history_template = "flagstaff/history.html"

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The history; or as a table for programs; or a change that is taken back."""
        # Asks whether there is such an object, and whether this person may see it.
        response = super().history_view(request, object_id, extra_context)
        if not (isinstance(response, TemplateResponse) and has_history()):
            return response
        row = (response.context_data or {})["object"]
        if request.method == "POST":
            return self._take_back(request, row, response)
        if request.GET.get("format") == "csv":
            return _table(self._events(request, row, None))
        response.context_data = {**(response.context_data or {}), **self._context(request, row)}
        return response

    def _context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        events = self._events(request, row, _PAGE + 1)
        shown, more = events[:_PAGE], events[_PAGE:]
        actors = names_of_actors(shown)
        names = names_of_users(shown) if may_see_users(request.user) else None
        version = version_of(self.kind, row.pk)
        others = beside(self.admin_site, request, shown)
        return {
            "flagstaff_events": [
                {
                    "event": event,
                    "who": describe_actor(event, actors),
                    "what": describe_change(event, names),
                    "beside": others.get(event.version),
                    "may_undo": event.action == "change" and not _is_secret(event),
                    "may_restore": event.version != version and event.action != "delete",
                }
                for event in shown
            ],
            "flagstaff_older": shown[-1].version if more else None,
            "flagstaff_version": version,
            "flagstaff_may_change": self.has_change_permission(request, row),
        }

    def _events(self, request: HttpRequest, row: Any, limit: int | None) -> list[Event]:
        before = request.GET.get("before", "")
        older_than = _number(before) if before.isascii() and before.isdigit() else None
        events = events_of(self.kind, row.pk, before=older_than, limit=limit)
        return events if may_see_users(request.user) else [_counted(event) for event in events]

    def _take_back(
        self, request: HttpRequest, row: Any, response: TemplateResponse
    ) -> HttpResponse:
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        seen = request.POST.get("expect_version")
        expected = _number(seen) if seen else None
        if _UNDO_ALL in request.POST:
            return self._take_all_back(request, row, response, _number(request.POST[_UNDO_ALL]))
        if _UNDO in request.POST:
            changed = self._undo(request, row, _number(request.POST[_UNDO]), expected)
        else:
            to = _number(request.POST.get(_RESTORE))
            changed = _RESTORES[self.kind](row.key, to=to, expect_version=expected)
        self._tell(request, row, changed)
        return HttpResponseRedirect(self._next(request, row))

    def _undo(
        self, request: HttpRequest, row: Any, change: int, expected: int | None
    ) -> changes.Changed:
        """Take one change back. To take a creation back is to delete."""
        may_delete = self.has_delete_permission(request, row)
        with transaction.atomic(using=conf.database):
            changed = _UNDOS[self.kind](row.key, change, expect_version=expected)
            # Any entry stands for the whole change: what was done counts, not what was sent.
            if changed.written and changed.new is None and not may_delete:
                raise PermissionDenied
        return changed

    def _take_all_back(
        self, request: HttpRequest, row: Any, response: TemplateResponse, change: int
    ) -> HttpResponse:
        """Undo the whole transaction of a change of this row, once somebody has seen all of it."""
        parts = parts_of(change)
        if (self.kind, str(row.pk)) not in [(part.kind, part.pk) for part in parts]:
            raise Http404
        if not may_undo(self.admin_site, request, parts):
            raise PermissionDenied
        if _SURE not in request.POST:
            told = {
                "flagstaff_parts": in_words(parts, names_users=may_see_users(request.user)),
                "flagstaff_change": change,
                "flagstaff_reason": request.POST.get(REASON, ""),
                "title": _("Take all of it back"),
            }
            response.template_name = "flagstaff/undo_all.html"
            response.context_data = {**(response.context_data or {}), **told}
            return response
        done = changes.undo_transaction(change)
        for changed in done:
            if changed.written and changed.key == row.key:
                self.log_change(request, row, _("“%(key)s” is as it was.") % {"key": row.key})
        self._tell_all(request, done)
        return HttpResponseRedirect(self._next(request, row))

    def _tell_all(self, request: HttpRequest, done: list[changes.Changed]) -> None:
        keys = [changed.key for changed in done if changed.written]
        if not keys:
            text = _("All of it is so already, nothing was changed.")
            self.message_user(request, text, messages.WARNING)
            return
        named = ", ".join(f"“{key}”" for key in keys[:_MOST_NAMED])
        if (more := len(keys) - _MOST_NAMED) > 0:
            named = _("%(keys)s and %(count)s more") % {"keys": named, "count": more}
        text = _("As they were: %(keys)s.") % {"keys": named}
        if missing := {pk for changed in done for pk in changed.missing}:
            left = _("Users who are not there any more: %(count)s.")
            text = f"{text} {left % {'count': len(missing)}}"
        self.message_user(request, text, messages.SUCCESS)

    def _tell(self, request: HttpRequest, row: Any, changed: changes.Changed) -> None:
        if not changed.written:
            text = _("“%(key)s” is so already, nothing was changed.") % {"key": row.key}
            self.message_user(request, text, messages.WARNING)
            return
        text = _("“%(key)s” is as it was.") % {"key": row.key}
        if changed.missing:
            left = _("Users who are not there any more: %(count)s.")
            text = f"{text} {left % {'count': len(changed.missing)}}"
        self.log_change(request, row, text)
        self.message_user(request, text, messages.SUCCESS)

    def _next(self, request: HttpRequest, row: Any) -> str:
        if type(row)._base_manager.filter(pk=row.pk).exists():
            return request.path
        meta = self.opts
        name = f"{self.admin_site.name}:{meta.app_label}_{meta.model_name}_changelist"
        return reverse(name)


def _table(events: list[Event]) -> HttpResponse:
    response = HttpResponse(as_csv(events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="history.csv"'
    return response


def _counted(event: Event) -> Event:
    """Without who is on an allow-list."""
    return replace(event, added=Users(event.added.count), removed=Users(event.removed.count))


def _is_secret(event: Event) -> bool:
    return any(difference.secret for difference in event.differences)


def _number(text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER:
        raise Http404
    return int(text)
