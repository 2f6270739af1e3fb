"""The admin of flags, values and segments: the page of a row with its form and history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import CharField, Field, QuerySet
from django.forms import BaseFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._words.text import localized
from flagstaff.admin.base_admin import SAVE_TIMEOUT
from flagstaff.admin.forms import SUBMITTED, MergingForm
from flagstaff.admin.json_fields import set_widget
from flagstaff.admin.links import page_url
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.part import Deleted
from flagstaff.admin.parts_admin import PartsAdmin
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.admin.saving import (
    KEY_HELP,
    REVIEW_BUTTONS,
    case_variants_text,
    create_row,
    newer_changes,
)
from flagstaff.admin.views import (
    MAX_REASON_LENGTH,
    REASON,
    extend_template,
    reason_required,
)
from flagstaff.changes.changed import Changed, Undo, combined_undo
from flagstaff.changes.row_changes import delete_row, update_row
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


class RowAdmin(PartsAdmin):
    """The base of the admins of flags, values and segments.

    Each hook of Django's ModelAdmin is here once, or in PartsAdmin. What a page shows or does is
    in the parts.
    """

    form: type[MergingForm]
    object_history_template = "flagstaff/history.html"

    def show_form(self, request: HttpRequest, object_id: str | None, *args: Any) -> HttpResponse:
        """Returns the page that adds or changes a row."""
        page = page_of(request)
        page.is_saving = request.method == "POST"
        if object_id is not None:
            for part in self.bound_parts:
                part.open_form(request, unquote(object_id))
        show = partial(super().show_form, request, object_id, *args)
        try:
            response = show()
        except FlagstaffError as error:
            if not page.is_saving:
                raise
            # Another change was written after the form had been validated. Django's view cannot
            # go back from the write to the form, so a second run reads the row as it is now, and
            # merges what was typed into it. What has been refused becomes an error of the form.
            page.saved = None
            if not isinstance(error, ConflictError):
                page.refusal = localized(error.message)
            response = show()
        self._report_saved(request)
        return response

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The read-only fields. A key is read-only once the row exists."""
        added = (name for part in self.bound_parts for name in part.readonly_fields(request, obj))
        names = [*super().get_readonly_fields(request, obj), *(() if obj is None else ("key",))]
        return tuple(dict.fromkeys([*names, *added]))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> _FieldsetSpec:
        """The sections of the form, with the reason for users who may save."""
        fieldsets = super().get_fieldsets(request, obj)
        may_save = self.has_change_permission if obj else self.has_add_permission
        if may_save(request, *([obj] if obj else [])):
            # Themes with tabs need a name: a second one without has the tab of the first.
            fieldsets = (*fieldsets, (_("This change"), {"fields": (REASON, SUBMITTED)}))
        return self.ask(fieldsets, lambda part, some: part.fieldsets(request, obj, some))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields of a form without sections."""
        chosen = self.first(lambda part: part.fields(request, obj))
        return super().get_fields(request, obj) if chosen is None else chosen

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 (Django's signature)
        **kwargs: Any,
    ) -> type[MergingForm]:
        """The class of the form, with the reason why the key is fixed."""
        if obj is not None and self.has_change_permission(request, obj):
            key_help = KEY_HELP[self.row_kind]
            kwargs["help_texts"] = {**kwargs.get("help_texts", {}), "key": key_help}
        form = cast("type[MergingForm]", super().get_form(request, obj, change, **kwargs))
        page = page_of(request)
        form.refusal = page.refusal
        form.is_review = any(button in request.POST for button in REVIEW_BUTTONS)
        if page.is_saving:
            form.may_save = staticmethod(partial(self._may_save, request))
        # A copy: all forms share the fields of their base class.
        reason = form.base_fields[REASON] = copy(form.base_fields[REASON])
        if like := self.formfield_for_dbfield(CharField(max_length=MAX_REASON_LENGTH), request):
            set_widget(reason, like.widget)
        return form

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The fields in which the user can search."""
        added = (name for part in self.bound_parts for name in part.autocomplete_fields(request))
        return (*super().get_autocomplete_fields(request), *added)

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field. Widgets are those of the ModelAdmin, which may be a theme's."""
        options: dict[str, Any] = {}
        for part in self.bound_parts:
            options |= part.field_options(db_field)
        field = super().formfield_for_dbfield(db_field, request, **{**options, **kwargs})
        if field is None:
            return None
        if db_field.name == "description":
            field.widget.attrs["rows"] = 3
        return self.ask(field, lambda part, one: part.form_field(db_field, one, request))

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField[Any] | None:
        """The field of the allowed users, with users of the flags' database."""
        return super().formfield_for_manytomany(
            db_field, request, **{"using": conf.database, **kwargs}
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The values of an empty form."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        for part in self.bound_parts:
            part.open_new(request, initial)
        return initial

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page with the form, or the page that asks for a confirmation."""
        # A later part may have refused the save, or a formset may have errors: they come first.
        if (question := page_of(request).question) is not None and not context.get("errors"):
            return question
        # A save stays on the page of the row.
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        # A subclass may have a template of its own.
        is_extended, row = self.change_form_template is None, context["original"]
        if row is not None:
            context |= {"title": stored_row(row).key, "subtitle": None}
        for part in self.bound_parts if is_extended else ():
            context |= part.form_context(request, row, context)
        response = super().render_change_form(request, context, *args, **kwargs)
        if is_extended and isinstance(response, TemplateResponse):
            extend_template(response, self.form_template)
        return response

    # Saving.

    def _may_save(self, request: HttpRequest, form: MergingForm) -> bool:
        """Whether Django may save a valid form: no part refuses it or asks for a confirmation."""
        page = page_of(request)
        page.question = None
        try:
            self._before_save(request, form)
        except FlagstaffError as error:
            form.refuse(localized(error.message))
            return False
        # The page that asks for a confirmation asks for the reason, too.
        is_confirmed = page.question is None
        if is_confirmed and form.lacks_reason:
            form.refuse(reason_required(), REASON)
            return False
        return is_confirmed

    def _before_save(self, request: HttpRequest, form: MergingForm) -> None:
        for part in self.bound_parts:
            part.before_save(request, form)

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: MergingForm,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Writes the edited fields, allowed users included. Raises ConflictError."""
        if form.may_save is None:
            # Code of the project saves, and not the view of the form, which has asked the parts.
            self._before_save(request, form)
        page = page_of(request)
        if change:
            warning = newer_changes(request, form)
            page.saved = self._update(obj, form)
        else:
            page.saved = create_row(self.row_kind, obj, form)
            warning = case_variants_text(self.model, obj.key)
        if warning:
            self.message_user(request, warning, messages.WARNING)
        for part in self.bound_parts:
            part.after_save(request, form, is_new=not change)

    def _update(self, obj: Any, form: MergingForm) -> Changed:
        fields, expect = form.changed_fields, form.expected_fields
        return update_row(self.row_kind, obj.key, fields, expect=expect)

    def save_related(
        self,
        request: HttpRequest,
        form: MergingForm,
        formsets: Iterable[BaseFormSet[Any]],
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Saves the formsets only: `save_model` has written the allowed users."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The page after a new row, without Django's message."""
        page_of(request).added = obj
        return self._silent(request, super().response_add, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """The page after a save, without Django's message."""
        return self._silent(request, super().response_change, obj)

    def _silent(
        self, request: HttpRequest, respond: Callable[..., HttpResponse], *arguments: Any
    ) -> HttpResponse:
        page = page_of(request)
        page.is_silent = True
        try:
            return respond(request, *arguments)
        finally:
            page.is_silent = False

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """The page of the new row."""
        if self.has_view_permission(request, obj):
            return self._row_page(request, obj)
        return super().response_post_save_add(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """The same page: a person watches what was saved."""
        return self._row_page(request, obj)

    def _row_page(self, request: HttpRequest, row: Any) -> HttpResponseRedirect:
        filters: Any = {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts}
        url = page_url(self.admin_site, self.model, "change", row.pk)
        return HttpResponseRedirect(add_preserved_filters(filters, url))

    def message_user(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Shows a message, unless it is the one that this class replaces."""
        if not page_of(request).is_silent:
            super().message_user(request, *args, **kwargs)

    def _report_saved(self, request: HttpRequest) -> None:
        """Shows what was saved, after the transaction: workers see it from then on."""
        page = page_of(request)
        changed, page.saved = page.saved, None
        if changed is None:
            return
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.")
            self.message_user(request, text % {"key": changed.key}, messages.INFO)
            return
        if page.added is None:
            self.report_change(request, changed, users=page.users_text)
        elif IS_POPUP_VAR not in request.POST:
            self._report_new(request, page.added, changed)

    def _report_new(self, request: HttpRequest, row: Any, changed: Changed) -> None:
        may_undo = self.has_delete_permission(request, row)
        versions = [changed.version] if changed.version and may_undo else []
        texts, links = zip(*(part.new_row(request, row) for part in self.bound_parts), strict=True)
        text = _("“%(key)s” was added.") % {"key": row.key}
        self.report_applied(
            request,
            " ".join(filter(None, (text, *texts))),
            timeout=SAVE_TIMEOUT,
            undo_url=undo_url(self.admin_site, versions),
            links=[link for some in links for link in some],
        )

    # Deletions and the history.

    def show_deletion(self, request: HttpRequest, object_id: str, *args: Any) -> HttpResponse:
        """Returns the page of the first part that has one, or Django's."""
        page = self.first(lambda part: part.delete_response(request, unquote(object_id)))
        return page or super().show_deletion(request, object_id, *args)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        """What the page of a deletion lists."""
        found: Deleted = super().get_deleted_objects(objs, request)
        return self.ask(found, lambda part, some: part.deleted_objects(request, objs, some))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Deletes one row."""
        changed = delete_row(self.row_kind, obj.key)
        self._after_delete(request, [changed], changed.undo)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Deletes all rows, or none if one fails."""
        with transaction.atomic(using=conf.database):
            keys = queryset.order_by("pk").values_list("key", flat=True)
            deleted = [delete_row(self.row_kind, key) for key in keys]
        self._after_delete(request, deleted, combined_undo(deleted))

    def _after_delete(
        self, request: HttpRequest, deleted: Sequence[Changed], undo: Undo | None
    ) -> None:
        for part in self.bound_parts:
            part.after_delete(request, deleted, undo)

    def show_history(self, request: HttpRequest, object_id: str, *args: Any) -> HttpResponse:
        """Returns the history of a row, as the parts show it."""
        # Checks that the object exists, and that the user may view it.
        response = super().show_history(request, object_id, *args)
        return self.ask(
            response, lambda part, page: part.history_response(request, object_id, page)
        )
