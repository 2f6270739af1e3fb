"""The page that confirms an action for several flags, and what the action does then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import ngettext

from flagstaff._tables.rows import Row, all_rows
from flagstaff._words.text import Text, local_list, local_number, localized, some
from flagstaff.admin.confirmation import parse_version, problems_of
from flagstaff.admin.flag.bulk.actions import ACTIONS, BACK, NONE, BulkAction
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.flag.state import count_missing
from flagstaff.admin.links import list_link
from flagstaff.admin.part import AdminOfParts, Part
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.admin.rights import may
from flagstaff.admin.views import VERSION
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import read_rows
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import has_history, newest_keys, versions_of

# A person cannot check more flags on one page.
_MAX_FLAGS = 100


class BulkPage:
    """One request of an action."""

    #: The selected flags, by key.
    _flags: Sequence[Any]
    #: The versions that they had before they were read, if the action checks them.
    _versions: dict[str, int]
    #: The keys of selected flags that no longer exist.
    _missing: list[str]

    def __init__(self, admin: AdminOfParts, action: BulkAction, request: HttpRequest) -> None:
        self._admin, self._action, self._request = admin, action, request
        self._has_versions = action.checks_version and has_history()
        back = request.POST.get(BACK, "")
        self._back = back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else ""

    def answer(self, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Asks for a confirmation, and then changes the flags in one transaction.

        Returns None if there is nothing to confirm: a message says why.
        """
        action, request, pks = self._action, self._request, self._pks(queryset)
        if len(pks) > _MAX_FLAGS:
            text = ngettext(
                "Nothing was changed: select at most %(count)s flag at once, then the others.",
                "Nothing was changed: select at most %(count)s flags at once, then the others.",
                _MAX_FLAGS,
            )
            return self._refuse(text % {"count": local_number(_MAX_FLAGS)})
        self._read(pks)
        site, permission = self._admin.admin_site, action.permission
        refused = [one.key for one in self._flags if not may(site, request, permission, one)]
        if refused:
            return self._refuse(str(action.refused) % {"keys": local_list(refused)})
        affected = [flag for flag in self._flags if action.is_affected(flag)]
        if not affected:
            self._report_missing()
            return self._refuse(str(action.nothing), messages.WARNING) if self._flags else None
        is_typed = permission == "toggle" and conf.is_production
        typed = str(len(affected)) if is_typed else ""
        problems = problems_of(request, typed, needs_reason=action.needs_reason)
        form = action.form(affected, None if problems is None else request.POST)
        if problems == [] and form.is_valid():
            try:
                self._write(form.cleaned_data)
            except InvalidChangeError as error:
                problems = [localized(error.message)]
            else:
                return HttpResponseRedirect(self._back or request.get_full_path())
        return self._ask(len(affected), form, typed, problems)

    def _pks(self, queryset: QuerySet[Any]) -> list[str]:
        """The primary keys, as text. A flag may have left the filters of the list meanwhile."""
        if self._request.POST.get("select_across", "0") != "0":
            found = queryset.order_by("key").values_list("pk", flat=True)[: _MAX_FLAGS + 1]
            return [str(pk) for pk in found]
        given = map(self._canonical, self._request.POST.getlist(ACTION_CHECKBOX_NAME))
        return [pk for pk in dict.fromkeys(given) if pk is not None]

    def _canonical(self, text: str) -> str | None:
        """The text of a primary key as the rows have it; None for what can be none."""
        try:
            return str(self._admin.model._meta.pk.to_python(text))
        except (ValidationError, ValueError):
            return None

    def _read(self, pks: Sequence[str]) -> None:
        # The versions are read first, so that a change of what the page shows is a conflict.
        self._versions = versions_of(Kind.FLAG, pks) if self._has_versions else {}
        rows = self._admin.get_queryset(self._request).filter(pk__in=pks)
        self._flags = list(rows.order_by("key"))
        count_missing(self._flags)
        missing = {*pks} - {str(flag.pk) for flag in self._flags}
        # Flags that the queryset of a project hides have no names here.
        hidden = all_rows(self._admin.model).filter(pk__in=missing).values_list("pk", flat=True)
        deleted = missing.difference(map(str, hidden))
        self._missing = [*newest_keys(Kind.FLAG, [pk for pk in pks if pk in deleted])]

    def _refuse(self, text: str, level: int = messages.ERROR) -> HttpResponse | None:
        self._admin.message_user(self._request, text, level)
        return HttpResponseRedirect(self._back) if self._back else None

    def _ask(self, count: int, form: Form, typed: str, problems: list[str] | None) -> HttpResponse:
        action, flags = self._action, self._flags
        versions = ",".join(str(self._versions.get(str(flag.pk), 0)) for flag in flags)
        context = {
            "title": action.title,
            "flagstaff_crumbs": [list_link(self._admin.admin_site, self._admin.model)],
            "flagstaff_question": action.question % {"count": count},
            "flagstaff_notes": self._missing_texts(),
            "flagstaff_rows": [*zip(flags, self._cells(), strict=True)],
            "flagstaff_form": form,
            "flagstaff_posted": [
                ("action", action.name),
                *((ACTION_CHECKBOX_NAME, str(flag.pk)) for flag in flags),
                *([(BACK, self._back)] if self._back else []),
            ],
            "flagstaff_version": versions if self._has_versions else None,
            "flagstaff_label": action.button % {"count": count} if action.button else action.title,
            "flagstaff_danger": action.is_danger,
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
            "flagstaff_needs_reason": action.needs_reason and conf.require_reason,
            "flagstaff_back": self._back,
        }
        page = self._admin.confirmation(self._request, flags[0], context)
        page.template_name = "flagstaff/bulk.html"
        return page

    def _cells(self) -> list[dict[Any, str]]:
        """What the action and the optional apps say about each flag."""
        cells = [dict(one) for one in self._action.cells(self._request, self._flags)]
        if self._action.permission != "toggle":
            return cells
        rows = rows_of_change(self._admin, self._flags)
        for flag, one in zip(self._flags, cells, strict=True):
            is_affected = self._action.is_affected(flag)
            texts = {row.field: f"{row.now} → {row.after}" for row in rows[str(flag.pk)]}
            one.update(texts if is_affected else dict.fromkeys(texts, NONE))
        # Each flag has the same columns.
        columns = dict.fromkeys(column for one in cells for column in one)
        return [{column: one.get(column, NONE) for column in columns} for one in cells]

    def _write(self, data: dict[str, Any]) -> None:
        """Writes all flags or none, and reports it. Raises ConflictError."""
        action, admin, request = self._action, self._admin, self._request
        with transaction.atomic(using=conf.database):
            # Always in the same order, so that two such transactions cannot deadlock.
            ids = [(Kind.FLAG, str(flag.pk)) for flag in self._flags]
            rows = list(read_rows(ids, lock=True).values())
            self._require_unchanged(rows)
            changed = [action.write(row, data) for row in rows]
        for row, one in zip(rows, changed, strict=True):
            if one.written:
                text = action.log(row.key, data) if action.log else admin.changed_text(request, one)
                admin.log_change(request, row, text)
        self._report(changed)
        written = {row.key for row in rows}
        self._missing += [flag.key for flag in self._flags if flag.key not in written]
        self._report_missing()

    def _require_unchanged(self, rows: Sequence[Row]) -> None:
        """Raises ConflictError if a flag has a version that the page has not shown."""
        if not self._has_versions or not (posted := self._request.POST.get(VERSION)):
            return
        shown = {parse_version(text) for text in posted.split(",")}
        versions = versions_of(Kind.FLAG, [row.pk for row in rows])
        if newer := [row.key for row in rows if versions.get(str(row.pk), 0) not in shown]:
            text = Text(
                "these flags have changed since the page was shown: {keys}. The page now shows "
                "the present state; press the button again",
                keys=some(newer),
            )
            raise ConflictError(text)

    def _report(self, changed: Sequence[Changed]) -> None:
        action, admin, request = self._action, self._admin, self._request
        if done := [one.key for one in changed if one.written]:
            text = _named(action.done, done)
            versions = [one.version for one in changed if one.written and one.version]
            if versions:
                url = undo_url(admin.admin_site, versions)
                admin.report_applied(request, text, timeout=action.timeout, undo_url=url)
            else:
                admin.message_user(request, text, messages.SUCCESS)
        if already := [one.key for one in changed if not one.written]:
            admin.message_user(request, _named(action.unchanged, already), messages.WARNING)

    def _report_missing(self) -> None:
        for text in self._missing_texts():
            self._admin.message_user(self._request, text, messages.WARNING)

    def _missing_texts(self) -> list[str]:
        text = ngettext(
            "%(count)s selected flag no longer exists: %(keys)s.",
            "%(count)s selected flags no longer exist: %(keys)s.",
            len(self._missing),
        )
        return [_named(text, self._missing)] if self._missing else []


def _named(text: Any, keys: Sequence[str]) -> str:
    named: str = text % {"count": len(keys), "keys": local_list(keys)}
    return named


_Method = Callable[[object, HttpRequest, QuerySet[Any]], HttpResponse | None]


class FlagActions(Part):
    """The actions for several flags."""

    def __init__(self, admin: AdminOfParts) -> None:
        super().__init__(admin)
        for action in ACTIONS:
            setattr(self, action.name, self._method(action))
        self.actions = tuple(action.name for action in ACTIONS)

    def _method(self, action: BulkAction) -> _Method:
        @admin.action(description=action.label, permissions=[action.permission])
        def run(_admin: object, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            return BulkPage(self.admin, action, request).answer(rows)

        # Django takes it for the name of the action.
        run.__name__ = action.name
        return run
