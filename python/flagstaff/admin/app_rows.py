"""The pages of the rows of optional apps, such as rollout plans, which have events but no history.

Their actions return `Done`. The request class of the app says what each action would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.text import capfirst

from flagstaff._tables.rows import all_rows
from flagstaff._text import Sentence, localized, quoted, say
from flagstaff.actions import Argument, Done
from flagstaff.actions.arguments import Several
from flagstaff.actions.table import Run
from flagstaff.admin.changes.events import rows_of_app
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.links import changes_url, page_url
from flagstaff.admin.question import ActionRequest, Preview, Written
from flagstaff.admin.rights import may
from flagstaff.admin.row_page import RowPageAdmin, Section
from flagstaff.changes.consequence import impact_text
from flagstaff.exceptions import ConflictError
from flagstaff.waiting.prospect import Prospect

# A row that changes for weeks has many.
_MAX_EVENTS = 100


class AppRequest(ActionRequest):
    """A request to the page of an action of an app, for a user who may do it."""

    admin: AppRowAdmin

    def _newest(self, rows: Sequence[Any]) -> list[Any]:
        return [*rows]

    def _versions_of(self, rows: Sequence[Any]) -> list[str] | None:
        return [*map(self.admin.version, rows)]

    # What was typed.

    def _column(self, name: str) -> Any:
        """The arguments are texts, as in the terminal."""
        return None

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the field of the argument, with what the terminal says about it, too."""
        field = super()._field(name, argument, required=required)
        if isinstance(argument.help, Sentence):
            text = localized(argument.help)
            is_several = isinstance(argument, Several)
            field.help_text = (
                say("One on each line: {what}", what=text).local if is_several else capfirst(text)
            )
        return field

    def _data_of_link(
        self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        is_complete = all(initial.get(name) for name, field in fields.items() if field.required)
        return initial if is_complete else None

    def _preview(self) -> Preview | None:
        if not self.is_urgent:
            return super()._preview()
        # Nothing delays it, such as a mistake in what would be shown.
        preview = None if self.is_answered else super()._preview()
        return replace(preview or Preview(), asks=False)

    # What is asked.

    def _needs_reason(self, preview: Preview | None) -> bool:
        """Not for a deletion: the events, which would have the reason, are deleted too."""
        return super()._needs_reason(preview) and not self.action.deletes

    def _say_what_is_newer(self) -> None:
        self.versions = self._versions_of(self.rows)
        self.problems.append(
            say(
                "“{key}” has changed since the page was shown. Press the button again.",
                key=self.row.key,
            ).local
        )

    def _tables(self, preview: Preview) -> list[tuple[Sequence[PreviewRow], object]]:
        return [(preview.rows, say("Field").local)]

    def _notes_before(self, preview: Preview) -> list[str]:
        return [*preview.notes]

    def _notes_after(self, preview: Preview) -> Sequence[str]:
        return ()

    def _prospect(self, preview: Preview) -> Prospect | None:
        outlook, row = preview.outlook, self.row
        if outlook is None or row is None:
            return None
        return Prospect(Run(self.action, [row.key], [], preview.arguments), outlook)

    def _ask(self, prospect: Prospect, *, approval: bool) -> HttpResponse:
        if self._versions_of(self.rows) != self.versions:
            raise ConflictError(say("{key} was changed", key=self.row.key), key=self.row.key)
        return super()._ask(prospect, approval=approval)

    # What was done.

    def _write(self, preview: Preview) -> Written:
        action, arguments = self.action, {**preview.arguments}
        key = self.row.key if self.row else arguments.pop("key")
        expected = {} if preview.outlook is None else preview.outlook.expected
        done = cast("Done", action.write(key, **arguments, **expected))
        # What has happened is stored, and shown in English.
        text = " ".join(_sentence(key, localized(message)) for message in done.messages)
        if action.deletes:
            text = say(
                "{keys} was deleted.", "{keys} were deleted.", count=1, keys=quoted(key)
            ).local
        if not done.written:
            return Written("", unchanged=text)
        if action.creates:
            self.rows = [all_rows(self.admin.model).filter(key=key).latest("pk")]
        self._log([self.row], [text])
        users = impact_text(preview.impact, percents=False)
        # The users of an urgent action were not counted, and others may gain nothing.
        if not (users or action.creates or action.deletes):
            users = self.summary(self.row)
        return Written(" ".join(filter(None, [text, users])), *self._way_back(done))

    def _way_back(self, done: Done) -> tuple[str, str]:
        """Returns the page of the action that undoes it, and a label if it does something else."""
        if done.undo is None or self.action.deletes:
            return "", ""
        _kind, name, *_more = done.undo.arguments
        action = self.admin.page_actions[name]
        if not self.admin.may_do(self.request, action, self.row):
            return "", ""
        url = page_url(self.site, self.admin.model, name, self.row.pk)
        return url, f"{action.label}…" if done.instead else ""


def _sentence(key: str, text: str) -> str:
    # Django capitalises the first letter of a message: a key must not come first.
    if text.startswith(f"{key}: "):
        text = text.replace(key, quoted(key), 1)
    return f"{capfirst(text).removesuffix('.')}."


class AppRowAdmin(RowPageAdmin):
    """Shows a row of an app as text, with its actions."""

    #: The kind of the actions, which is also the name of the app's pages: see `app_pages`.
    app_kind: ClassVar[str]
    request_class = AppRequest

    @property
    def action_kind(self) -> str:
        """The kind of row whose actions have pages."""
        return self.app_kind

    def events(self, row: Any) -> QuerySet[Any]:
        """Returns what has happened to a row."""
        raise NotImplementedError

    def version(self, row: Any) -> str:
        """Returns a text that differs after each change that a person must see. Queries."""
        raise NotImplementedError

    def last_changes(self, request: HttpRequest, row: Any) -> Section:
        """Returns the section with the events, and the action that deletes them with the row."""
        rows = rows_of_app([*self.events(row).order_by("-id")[:_MAX_EVENTS]])
        html = render_to_string("flagstaff/last_changes.html", {"rows": rows})
        return Section(say("Events").local, html if rows else "", ("delete",))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Goes to the events of a row among the recent changes."""
        row = self.get_object(request, object_id)
        if row is None:
            return self.missing(request, object_id)
        if not may(self.admin_site, request, "view", row):
            raise PermissionDenied
        filters = {"key": row.key, "kind": self.app_kind}
        return HttpResponseRedirect(changes_url(self.admin_site, filters))
