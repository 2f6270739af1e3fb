"""The page of an action: its arguments, what they change, what it asks, and what was done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._tables.model_fields import find_field
from flagstaff._words.rule_parts import sentence
from flagstaff.actions import Action, Argument
from flagstaff.admin.base_admin import SAVE_TIMEOUT
from flagstaff.admin.confirmation import (
    CONFIRMED,
    TYPED_KEY,
    describe_changed,
    posted_version,
    preview_rows,
    version_text,
)
from flagstaff.admin.deletion import way_back
from flagstaff.admin.links import list_link, page_url, row_links, undo_url
from flagstaff.admin.part import AdminOfParts
from flagstaff.admin.rights import may
from flagstaff.admin.rule_editor.edits import EDIT
from flagstaff.admin.saving import case_variants_text
from flagstaff.admin.segment_uses import require_reach, segment_rows, visible_refusal
from flagstaff.admin.views import environment_context, posted_reason, reason_problem
from flagstaff.changes import Changed
from flagstaff.changes.consequence import (
    consequence_of,
    impact_text,
    text_for_many,
    text_to_type,
)
from flagstaff.changes.impact import Impact, impact, states_of
from flagstaff.changes.preview import previewed
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.log import Change, events, version_of
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users

# Seconds for which an action that nothing may delay waits for the workers.
_LONG_TIMEOUT = 5.0
# The newer changes that a message lists.
_MAX_NEWER = 5


class AdminOfActions(AdminOfParts):
    """Rows that are changed by the actions of their kind, and by nothing else."""

    def notes(self, action: Action, arguments: Mapping[str, Any]) -> Sequence[str]:
        """Returns what a person should know before an action with these arguments, in sentences."""
        return []


@dataclass(frozen=True)
class _Preview:
    """What an action would do with some arguments."""

    arguments: Mapping[str, Any]
    changed: Changed
    impact: Impact
    #: Whether a person has to see it first.
    asks: bool
    #: What a person has to type; empty for nothing.
    typed: str

    @property
    def seal(self) -> str:
        """A text that differs if the arguments, or the weight of the question, differ."""
        text = json.dumps(dict(self.arguments), sort_keys=True, default=str)
        return sha256(f"{text}{self.typed}{consequence_of(self.impact)}".encode()).hexdigest()


class ActionRequest:
    """A request to the page of an action, for a user who may do it."""

    def __init__(
        self, admin: AdminOfActions, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Takes the row that the action changes; None for one that creates a row."""
        self.admin, self.request, self.action = admin, request, action
        self.version = None if row is None else version_of(admin.row_kind, row.pk)
        # Read after its version: the page must not show an older row.
        self.row: Any = row and (admin.row_kind.find(row.key) or row)
        self.form = self._form()
        self.problems: list[str] = []

    def answer(self) -> HttpResponse:
        """Returns the page, or writes what it has confirmed. A GET locks and writes nothing."""
        is_edited = EDIT in self.request.POST
        preview = self._preview()
        is_posted = self.request.method == "POST" and not is_edited
        if is_posted and preview is not None and self._is_confirmed(preview):
            try:
                return self._done(preview, self._write(preview))
            except ConflictError:
                self._say_what_is_newer(posted_version(self.request))
            except FlagstaffError as error:
                self._refuse(error)
        return self._page(preview, is_edited=is_edited)

    # What was typed.

    def _form(self) -> forms.Form:
        fields: dict[str, forms.Field] = {}
        if self.action.creates:
            fields["key"] = self._field("key", Argument(""), required=True)
        for name, (argument, required) in self.action.arguments().items():
            fields[name] = self._field(name, argument, required=required)
        # Not its methods, which Django would call for the initial value, such as `delete`.
        columns = [name for name in fields if self.row and find_field(self.admin.model, name)]
        initial = {name: getattr(self.row, name) for name in columns}
        # Without fields there is nothing to wait for.
        data: Mapping[str, Any] | None = None if fields else {}
        if self.request.method == "POST":
            data = self.request.POST
        # The page says what is missing, as Django's forms do.
        options = {**fields, "use_required_attribute": False}
        form: forms.Form = type("ArgumentForm", (forms.Form,), options)(data, initial=initial)
        return form

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the form field of the model for one of its fields, as on any page of Django."""
        column = find_field(self.admin.model, name)
        field = column and self.admin.formfield_for_dbfield(column, self.request)
        label = str(capfirst(name.replace("_", " ")))
        return field or argument.form_field(label, required=required)

    def _preview(self) -> _Preview | None:
        """Returns what the arguments would change; None if there are none, or if they are wrong."""
        form, action, row = self.form, self.action, self.row
        if not form.is_valid():
            return None
        arguments = {name: value for name, value in form.cleaned_data.items() if value is not None}
        key = row.key if row else arguments.pop("key")
        try:
            with previewed():
                changed = self._run(key, arguments)
            before, after = states_of(self.admin.row_kind, changed, row)
            found = impact([before], [after], viewer=self.request.user)
            require_reach(self.admin.admin_site, self.request, found)
        except FlagstaffError as error:
            self._refuse(error)
            return None
        if action.deletes:
            return _Preview(arguments, changed, found, asks=True, typed=text_for_many([key]))
        least = action.asks_from if action.is_asked_about(arguments) else None
        asks = least is not None and consequence_of(found) >= least
        typed = text_to_type(found) if asks else ""
        return _Preview(arguments, changed, found, asks=asks, typed=typed)

    def _run(self, key: str, arguments: Mapping[str, Any]) -> Changed:
        # Only rows without a history have another result.
        return cast("Changed", self.action.write(key, **arguments))

    def _refuse(self, error: FlagstaffError) -> None:
        text = visible_refusal(self.admin.admin_site, self.request, error)
        # What is wrong with a field begins with its name.
        name, _colon, problem = text.partition(": ")
        if name in self.form.fields:
            self.form.add_error(name, problem)
        else:
            self.form.add_error(None, sentence(text))

    # What is asked.

    def _is_confirmed(self, preview: _Preview) -> bool:
        """Whether the page has asked, and a person has confirmed what is known now."""
        posted, shown = self.request.POST, posted_version(self.request)
        is_always = self.action.always_runs is True
        is_stale = self.row is not None and shown is not None and shown != self.version
        if is_stale and not is_always:
            self._say_what_is_newer(shown)
        has_asked = not preview.asks or posted.get(CONFIRMED) == preview.seal
        # An input of one line has no line breaks, and a page shows several blanks as one.
        has_typed = posted.get(TYPED_KEY, "").split() == preview.typed.split()
        if has_asked and preview.typed and not has_typed:
            text = _("Not confirmed: type “%(text)s” exactly.")
            self.problems.append(text % {"text": preview.typed})
        if has_asked and not is_always and (problem := reason_problem(self.request)):
            self.problems.append(problem)
        return has_asked and not self.problems

    def _say_what_is_newer(self, shown: int | None) -> None:
        """Adds a problem: what others have changed since the page was shown."""
        newer = Change.objects.of_row(self.admin.row_kind, self.row.pk).filter(id__gt=shown or 0)
        found = [*events(newer.short().newest()[:_MAX_NEWER])]
        self.version = found[0].version if found else self.version
        actors = names_of_actors(found)
        users = names_of_users(found) if may_see_users(self.request.user) else None
        changes = (f"{describe_actor(one, actors)}: {describe_change(one, users)}" for one in found)
        text = _("“%(key)s” has changed since the page was shown. Press the button again.")
        self.problems += [text % {"key": self.row.key}, *changes]

    def _page(self, preview: _Preview | None, *, is_edited: bool) -> HttpResponse:
        action, admin, row, request = self.action, self.admin, self.row, self.request
        site = admin.admin_site
        shown = posted_version(request) if is_edited else self.version
        context = {
            **environment_context(),
            "title": action.label,
            "subtitle": None,
            "original": row,
            "crumbs": row_links(site, row) if row else [list_link(site, admin.model)],
            "form": self.form,
            "media": admin.media + self.form.media,
            "is_edited": is_edited,
            "problems": self.problems,
            "preview": preview,
            "cannot": action.deletes and preview is None,
            "version": version_text(shown),
            "reason": posted_reason(request),
            "needs_reason": conf.require_reason and action.always_runs is not True,
            "is_danger": action.deletes,
            "button": self._button(),
            "back": page_url(site, admin.model, "change", row.pk) if row else self._list_url(),
        }
        if preview is not None:
            users = impact_text(preview.impact)
            way = way_back([row]) if action.deletes else ""
            context["notes"] = [*filter(None, [users, way]), *self._notes(preview)]
            is_change = row is not None and not action.deletes
            rows = preview_rows(request, row, preview.changed) if is_change else []
            uses = segment_rows(site, request, preview.impact)
            context["tables"] = [(rows, _("Field")), (uses, capfirst(_("used by")))]
        return admin.template_page(request, "flagstaff/question.html", context)

    def _button(self) -> str:
        if self.row is None:
            return str(self.action.label)
        text = _("Delete %(key)s") if self.action.deletes else _("Save %(key)s")
        return text % {"key": self.row.key}

    def _notes(self, preview: _Preview) -> list[str]:
        key, model = preview.changed.key, self.admin.model
        similar = case_variants_text(model, key) if self.action.creates else ""
        return [*filter(None, [similar]), *self.admin.notes(self.action, preview.arguments)]

    # What was done.

    def _write(self, preview: _Preview) -> Changed:
        action, admin, request, row = self.action, self.admin, self.request, self.row
        arguments = dict(preview.arguments)
        if action.takes_version and action.always_runs is not True:
            arguments["expect_version"] = posted_version(request)
        with transaction.atomic(using=conf.database):
            changed = self._run(preview.changed.key, arguments)
            if action.creates:
                self.row = admin.row_kind.row(changed.key)
            if changed.written and action.deletes:
                # Only the type asks for a query set.
                admin.log_deletions(request, cast("Any", [row]))
            elif changed.written:
                log = admin.log_addition if action.creates else admin.log_change
                log(request, self.row, describe_changed(request, changed))
        return changed

    def _done(self, preview: _Preview, changed: Changed) -> HttpResponse:
        """Says what was done, and goes to the page of the row."""
        action, admin, request = self.action, self.admin, self.request
        timeout = _LONG_TIMEOUT if action.waits else SAVE_TIMEOUT
        key = {"key": changed.key}
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.")
            admin.message_user(request, text % key, messages.INFO)
        elif action.creates or action.deletes:
            text = _("“%(key)s” was added.") if action.creates else _("“%(key)s” was deleted.")
            site = admin.admin_site
            may_undo = (
                may(site, request, "delete", self.row)
                if action.creates
                else may(site, request, "add", admin.model)
            )
            versions = [changed.version] if changed.version and may_undo else []
            url = undo_url(site, versions)
            admin.report_applied(request, text % key, timeout=timeout, undo_url=url)
        else:
            users = impact_text(preview.impact)
            admin.report_change(request, changed, users=users, timeout=timeout)
        for note in self._notes(preview):
            admin.message_user(request, note, messages.WARNING)
        return HttpResponseRedirect(self._next_url())

    def _next_url(self) -> str:
        admin, row = self.admin, self.row
        if self.action.deletes or not admin.has_view_permission(self.request, row):
            return self._list_url()
        return page_url(admin.admin_site, admin.model, "change", row.pk)

    def _list_url(self) -> str:
        admin = self.admin
        if not admin.has_view_permission(self.request):
            return reverse("admin:index", current_app=admin.admin_site.name)
        return page_url(admin.admin_site, admin.model, "changelist")
