"""The page of a row with a state: buttons that ask and act, a deletion, and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import localized
from flagstaff._words.times import local_time_text
from flagstaff.admin.base_admin import BaseAdmin, with_undo
from flagstaff.admin.confirmation import CONFIRMED, PreviewRow, problems_of
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import may
from flagstaff.admin.views import VERSION, with_typed_reason
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError

#: A text that is translated when it is shown.
Text: TypeAlias = Any

#: The name of the buttons.
BUTTON = "_button"
#: The parameter of the URL that opens the form of a row.
EDIT = "edit"
# A row that changes for weeks has many.
_MAX_EVENTS = 100


@dataclass(frozen=True)
class Confirmation:
    """What the page that confirms a button shows besides its question."""

    rows: Sequence[PreviewRow] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    form: forms.Form | None = None
    #: The text that the person types; empty for none.
    typed: str = ""


def _nothing_more(_row: Any, _data: Any) -> Confirmation:
    return Confirmation()


def _no_values(_changed: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Button:
    """One line of the table of buttons: what it asks, and what it does."""

    #: The value of the button, such as "start".
    name: str
    label: Text
    #: Changes the row with this key, given the valid form of the confirmation.
    run: Callable[[str, Any], object]
    #: The message afterwards. It may name the `key`, and what `values` returns.
    done: Text
    #: The question of the confirmation, about the `key`; empty for a button that acts at once.
    question: Text = ""
    #: Returns what the confirmation shows, given the row, and what was posted, or None.
    confirm: Callable[[Any, Any], Confirmation] = _nothing_more
    #: "default" is what comes next, "danger" takes something away; without one it is in a menu.
    weight: Literal["default", "secondary", "danger", ""] = ""
    #: Whether it works whatever has changed since the page was opened, and needs no reason.
    is_brake: bool = False
    #: Returns more values of the message, given what `run` returned.
    values: Callable[[Any], Mapping[str, str]] = _no_values
    #: The name of the button that undoes it, to which the message has a link; empty for none.
    undo: str = ""
    #: Returns a second message about the key, with what is left to do.
    then: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Deletion:
    """What the page that deletes a row shows."""

    title: str
    question: str
    rows: Sequence[PreviewRow]
    #: The message afterwards.
    done: str
    #: Why the row cannot be deleted now; empty if it can.
    refused: str = ""
    warnings: Sequence[str] = ()


class ActionPageAdmin(BaseAdmin):
    """A row that is changed by its buttons. A class of its own says what its pages show."""

    # A row is deleted on its page, which says what happens then.
    actions = None
    #: The template of the page, which extends flagstaff/action_page.html.
    page_template: ClassVar[str]
    #: The message if the row has changed since the page was opened.
    stale_text: ClassVar[Text]

    def buttons(self, request: HttpRequest, row: Any) -> Sequence[Button]:
        """Returns the buttons that the state of the row allows, the most likely one first."""
        raise NotImplementedError

    def version(self, row: Any) -> str:
        """Returns a text that differs after each change that a confirmation must show."""
        raise NotImplementedError

    def page_context(self, request: HttpRequest, row: Any) -> Mapping[str, object]:
        """Returns what the template of the page shows."""
        raise NotImplementedError

    def deletion(self, request: HttpRequest, row: Any) -> Deletion:
        """Returns what the page that deletes the row shows."""
        raise NotImplementedError

    def delete(self, row: Any) -> None:
        """Deletes the row after its confirmation."""
        raise NotImplementedError

    def events(self, row: Any) -> QuerySet[Any]:
        """Returns what has happened to the row."""
        raise NotImplementedError

    def other_page(self, request: HttpRequest, row: Any) -> HttpResponse | None:
        """Returns what a GET gets in place of the page, such as a file; None for the page."""
        return None

    def add_page(self, request: HttpRequest) -> HttpResponse:
        """Shows or handles the form of a new row. The user may add one."""
        raise NotImplementedError

    def can_edit(self, row: Any) -> bool:
        """Whether the state of the row allows to edit it."""
        return False

    def edit_page(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Shows or handles the form of a row that the user may change.

        The row of a POST may be one that can no longer be edited.
        """
        raise NotImplementedError

    def show_form(self, request: HttpRequest, object_id: str | None, *_args: Any) -> HttpResponse:
        """The form of a new row, or the page of an existing one, which a POST of a button changes.

        A refusal of the app becomes a message.
        """
        if object_id is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self.add_page(request)
        row = self.get_object(request, object_id)
        if row is None:
            return cast(
                "HttpResponse",
                self._get_obj_does_not_exist_redirect(request, self.opts, object_id),  # type: ignore[attr-defined]
            )
        if EDIT in request.GET:
            return self._edit_page(request, row)
        # A link, such as that of a message, opens the confirmation of a button.
        presses = request.method == "POST" or BUTTON in request.GET
        if not may(self.admin_site, request, "change" if presses else "view", row):
            raise PermissionDenied
        if presses:
            return self._press(request, row)
        return self.other_page(request, row) or self._page(request, row)

    def show_deletion(self, request: HttpRequest, object_id: str, *_args: Any) -> HttpResponse:
        """Deletes a row after a confirmation."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        if not may(self.admin_site, request, "delete", row):
            raise PermissionDenied
        deletion = self.deletion(request, row)
        if deletion.refused:
            self.message_user(request, deletion.refused, messages.ERROR)
            return HttpResponseRedirect(self.url("change", row.pk))
        if request.method != "POST" or CONFIRMED not in request.POST:
            return self._ask_to_delete(request, row, deletion)
        # Django takes the primary key away.
        deleted = copy(row)
        self.delete(row)
        self.log_change(request, deleted, deletion.done)
        self.message_user(request, deletion.done, messages.SUCCESS)
        return HttpResponseRedirect(self.url("changelist"))

    def confirmation(
        self, request: HttpRequest, row: Any, context: Mapping[str, object]
    ) -> TemplateResponse:
        """Returns the page, with the breadcrumbs of the row."""
        page = {
            "flagstaff_parent": "admin/change_form.html",
            "original": row.key,
            "has_view_permission": True,
            **context,
        }
        return super().confirmation(request, row, page)

    def form_page(
        self, request: HttpRequest, template: str, context: Mapping[str, object]
    ) -> HttpResponse:
        """Returns the page with the form of a new row."""
        more = {"add": True, "has_view_permission": self.has_view_permission(request)}
        return self.template_page(request, template, {**more, **context})

    def was_saved(self, request: HttpRequest, row: Any, text: str) -> HttpResponse:
        """Says that a row was added or edited, and goes to its page, if the user may see it."""
        self._report(request, row, text)
        may_view = may(self.admin_site, request, "view", row)
        return HttpResponseRedirect(self.url("change", row.pk) if may_view else self.url("add"))

    def url(self, page: str, *arguments: object) -> str:
        """Returns the URL of a page of this admin."""
        return page_url(self.admin_site, self.model, page, *arguments)

    def _edit_page(self, request: HttpRequest, row: Any) -> HttpResponse:
        if not may(self.admin_site, request, "change", row):
            raise PermissionDenied
        # What was typed on a page that is old must not be lost.
        if self.can_edit(row) or request.method == "POST":
            return self.edit_page(request, row)
        self.message_user(request, str(self.stale_text), messages.ERROR)
        return HttpResponseRedirect(self.url("change", row.pk))

    def _page(self, request: HttpRequest, row: Any) -> HttpResponse:
        may_change = may(self.admin_site, request, "change", row)
        buttons = self.buttons(request, row) if may_change else ()
        may_delete = (
            may(self.admin_site, request, "delete", row) and not self.deletion(request, row).refused
        )
        context = {
            "title": row.key,
            "original": row.key,
            "has_view_permission": True,
            "buttons": [button for button in buttons if button.weight],
            "more_buttons": [button for button in buttons if not button.weight],
            "has_brake_at_once": any(button.is_brake and not button.question for button in buttons),
            "edit_url": f"?{EDIT}=1" if may_change and self.can_edit(row) else "",
            "version": self.version(row),
            "delete_url": self.url("delete", row.pk) if may_delete else None,
            "events": _event_rows(self.events(row)),
            **self.page_context(request, row),
        }
        return self.template_page(request, self.page_template, context)

    def _press(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Does what a button says, after its confirmation."""
        name = (request.POST or request.GET).get(BUTTON, "")
        found = (one for one in self.buttons(request, row) if one.name == name)
        button = next((one for one in found if request.method == "POST" or one.question), None)
        is_at_once = button is not None and not (button.is_brake or button.question)
        if button is None or (is_at_once and request.POST.get(VERSION) != self.version(row)):
            text = with_typed_reason(request, str(self.stale_text))
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(self.url("change", row.pk))
        confirmation = Confirmation()
        if button.question:
            confirmation = button.confirm(row, request.POST if CONFIRMED in request.POST else None)
            problems = self._problems(request, row, button, confirmation)
            is_valid = confirmation.form is None or confirmation.form.is_valid()
            if problems is None or problems or not is_valid:
                return self._ask(request, row, button, confirmation, problems)
        form = confirmation.form
        try:
            changed = button.run(row.key, form)
        except ConflictError:
            raise
        except FlagstaffError as error:
            if form is None:
                raise
            form.add_error(None, localized(error.message))
            return self._ask(request, row, button, confirmation, [])
        text = str(button.done) % {"key": row.key, **button.values(changed)}
        self._report(request, row, text, f"?{BUTTON}={button.undo}" if button.undo else "")
        if button.then is not None:
            self.message_user(request, button.then(row.key), messages.INFO)
        return HttpResponseRedirect(self.url("change", row.pk))

    def _problems(
        self, request: HttpRequest, row: Any, button: Button, confirmation: Confirmation
    ) -> list[str] | None:
        """Returns why the button has to ask again; None if it has not asked."""
        problems = problems_of(request, confirmation.typed, needs_reason=not button.is_brake)
        # The page of the row may have been opened by a link, without its version.
        shown = request.POST.get(VERSION, None if problems is not None else self.version(row))
        if not button.is_brake and shown != self.version(row):
            return [str(self.stale_text), *(problems or [])]
        return problems

    def _ask(
        self,
        request: HttpRequest,
        row: Any,
        button: Button,
        confirmation: Confirmation,
        problems: list[str] | None,
    ) -> HttpResponse:
        context = {
            "title": str(button.label),
            "flagstaff_question": str(button.question) % {"key": row.key},
            "flagstaff_rows": confirmation.rows,
            "flagstaff_notes": confirmation.notes,
            "flagstaff_warnings": confirmation.warnings,
            "flagstaff_form": confirmation.form,
            "flagstaff_typed": confirmation.typed,
            "flagstaff_problems": problems,
            "flagstaff_needs_reason": conf.require_reason and not button.is_brake,
            "flagstaff_version": self.version(row),
            "flagstaff_button": BUTTON,
            "flagstaff_target": button.name,
            # The dots say that a question follows.
            "flagstaff_label": str(button.label).removesuffix("…"),
            "flagstaff_danger": button.weight == "danger",
            "flagstaff_back": self.url("change", row.pk),
        }
        return self.confirmation(request, row, context)

    def _ask_to_delete(self, request: HttpRequest, row: Any, deletion: Deletion) -> HttpResponse:
        context = {
            "title": deletion.title,
            # The flag, or what the calls get, is changed by other buttons.
            "flagstaff_needs_reason": False,
            "flagstaff_question": deletion.question,
            "flagstaff_rows": deletion.rows,
            "flagstaff_warnings": deletion.warnings,
            "flagstaff_label": _("Delete"),
            "flagstaff_danger": True,
            "flagstaff_back": self.url("change", row.pk),
            "flagstaff_version": None,
        }
        return self.confirmation(request, row, context)

    def _report(self, request: HttpRequest, row: Any, text: str, undo_url: str = "") -> None:
        self.log_change(request, row, text)
        shown = with_undo(format_html("{}", text), undo_url, _("Undo"))
        self.message_user(request, shown, messages.SUCCESS)


def _event_rows(events: QuerySet[Any]) -> list[dict[str, object]]:
    """Returns the events, the newest one first. Makes two queries."""
    found = list(events.order_by("-id")[:_MAX_EVENTS])
    names = actor_table().names({event.actor for event in found if event.actor})
    return [
        {
            "at": event.at,
            "time": local_time_text(event.at),
            "kind": event.get_kind_display(),
            "text": localized(event.message),
            # A plan has the reason in the message of an event.
            "reason": getattr(event, "reason", ""),
            "actor": names.get(event.actor, event.actor),
        }
        for event in found
    ]
