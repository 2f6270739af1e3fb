"""The admin saves through `flagstaff.changes`, as commands and code do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import messages
from django.core.checks import CheckMessage, Error
from django.db.models import CharField, Field, Model, QuerySet
from django.forms import BaseFormSet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff import changes
from flagstaff._tables.rows import case_variants, uncached
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import quoted
from flagstaff._words.message import localized
from flagstaff.admin.attribution import MAX_REASON_LENGTH, REASON
from flagstaff.admin.flag_permissions import ReadOnlyMixin
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.submitted_state import SUBMITTED
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users
from flagstaff.history.versions import has_history

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


_CREATE: dict[Kind, Callable[..., changes.Changed]] = {
    Kind.FLAG: changes.create,
    Kind.VALUE: changes.create_value,
    Kind.SEGMENT: changes.create_segment,
}
_UPDATE = {
    Kind.FLAG: changes.update,
    Kind.VALUE: changes.update_value,
    Kind.SEGMENT: changes.update_segment,
}
_KEY_HELP = {
    Kind.FLAG: gettext_lazy(
        "Your code uses this key, and the key decides which users a rollout includes. "
        "For another key, create a new flag."
    ),
    Kind.VALUE: gettext_lazy("Your code uses this key. For another key, create a new value."),
    Kind.SEGMENT: gettext_lazy("Rules use this key. For another key, create a new segment."),
}
#: The buttons that show the page again, with what was typed and without saving.
REVIEW_BUTTONS = ("_rule_edit", "_count", "_edit")
# The newer changes that a message lists.
_MAX_LISTED = 5
# The length of each value in it.
_MAX_VALUE = 120
# Attributes of a request: what it has saved, and that Django's own message is left out.
_SAVED, _WITHOUT_MESSAGE = "flagstaff_saved", "flagstaff_without_message"
# The attribute of a request whose change was refused: the reason.
_REFUSAL = "flagstaff_refusal"


def set_widget(field: forms.Field, widget: forms.Widget) -> None:
    """Replaces the widget of a form field."""
    widget.is_required = field.required
    field.widget = widget


class SavingMixin(ReadOnlyMixin, ReportMixin, ModelAdminMixin):
    """Put it before ModelAdmin. Its form must be a MergingForm."""

    row_kind = Kind.FLAG

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Returns what is wrong with the options. A list cannot merge or confirm edits."""
        errors = super().check(**kwargs)
        if self.list_editable:
            text = "list_editable cannot be used: a list neither merges nor confirms edits"
            hint = "remove it, and edit rows on their pages"
            errors.append(Error(text, hint=hint, obj=type(self), id="flagstaff.E048"))
        return errors

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """The page that adds or changes a row."""
        response = self._save(request, object_id, form_url, extra_context)
        self._report_saved(request)
        return response

    def _save(
        self,
        request: HttpRequest,
        object_id: str | None,
        form_url: str,
        extra_context: dict[str, object] | None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ConflictError:
            # Another change was written after the form had been validated: it merges again.
            pass
        except FlagstaffError as error:
            if request.method != "POST":
                raise
            # As an error of the form, which keeps what was typed.
            vars(request)[_REFUSAL] = localized(error.message)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """The page after a save, without Django's message."""
        vars(request)[_WITHOUT_MESSAGE] = True
        try:
            return super().response_change(request, obj)
        finally:
            del vars(request)[_WITHOUT_MESSAGE]

    def message_user(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Shows a message, unless it is the one that this class replaces."""
        if _WITHOUT_MESSAGE not in vars(request):
            super().message_user(request, *args, **kwargs)

    def users_text(self, request: HttpRequest) -> str:
        """Returns the sentence about the users of the change that a request has saved."""
        return ""

    def _report_saved(self, request: HttpRequest) -> None:
        """Shows what was saved, after the transaction: workers see it from then on."""
        changed: changes.Changed | None = vars(request).pop(_SAVED, None)
        if changed is None:
            return
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.")
            self.message_user(request, text % {"key": changed.key}, messages.INFO)
            return
        self.report_change(request, changed, users=self.users_text(request))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """All rows of the flags' database, whatever a router or a query cache reads from."""
        return uncached(super().get_queryset(request).using(conf.database))

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField[Any] | None:
        """The field of the allowed users, with users of the flags' database."""
        return super().formfield_for_manytomany(
            db_field, request, **{"using": conf.database, **kwargs}
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The read-only fields. A key is read-only once the row exists."""
        readonly = super().get_readonly_fields(request, obj)
        return tuple(readonly) if obj is None else (*readonly, "key")

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 (Django's signature)
        **kwargs: Any,
    ) -> type[MergingForm]:
        """The class of the form, with the reason why the key is fixed."""
        if obj is not None and self.has_change_permission(request, obj):
            kwargs["help_texts"] = {**kwargs.get("help_texts", {}), "key": _KEY_HELP[self.row_kind]}
        form = cast("type[MergingForm]", super().get_form(request, obj, change, **kwargs))
        form.refusal = vars(request).get(_REFUSAL)
        form.is_review = any(button in request.POST for button in REVIEW_BUTTONS)
        # A copy: all forms share the fields of their base class.
        reason = form.base_fields[REASON] = copy(form.base_fields[REASON])
        if like := self.formfield_for_dbfield(CharField(max_length=MAX_REASON_LENGTH), request):
            set_widget(reason, like.widget)
        return form

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field. Widgets are those of the ModelAdmin, which may be a theme's."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "description":
            field.widget.attrs["rows"] = 3
        return field

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> _FieldsetSpec:
        """The fields, with the reason for users who may save."""
        fieldsets = super().get_fieldsets(request, obj)
        may_save = self.has_change_permission if obj else self.has_add_permission
        if not may_save(request, *([obj] if obj else [])):
            return fieldsets
        # Themes with tabs need a name: a second fieldset without one has the tab of the first.
        return (*fieldsets, (_("This change"), {"fields": (REASON, SUBMITTED)}))

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: MergingForm,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Writes the edited fields, allowed users included. Raises ConflictError."""
        if change:
            newer = self._newer_changes(request, obj, form)
            vars(request)[_SAVED] = self._update(obj, form)
            if newer:
                text = _(
                    "Changes that others made while this page was open were kept: %(changes)s."
                )
                self.message_user(request, text % {"changes": newer}, messages.WARNING)
            return
        names = {field.name for field in (*obj._meta.concrete_fields, *obj._meta.many_to_many)}
        _CREATE[self.row_kind](**{k: v for k, v in form.cleaned_data.items() if k in names})
        obj.pk = self.row_kind.row(obj.key).pk
        obj._state.adding = False
        if text := case_variants_text(self.model, obj.key):
            self.message_user(request, text, messages.WARNING)

    def _update(self, obj: Any, form: MergingForm) -> changes.Changed:
        return _UPDATE[self.row_kind](obj.key, form.changed_fields, expect=form.expected_fields)

    def _newer_changes(self, request: HttpRequest, obj: Any, form: MergingForm) -> str:
        """Describes what was changed after the page was opened."""
        version = form.shown.version if form.shown else None
        if version is None or not has_history():
            return ""
        events = events_of(self.row_kind, obj.pk, after=version, limit=_MAX_LISTED, shorten=True)
        actors = names_of_actors(events)
        users = names_of_users(events) if may_see_users(request.user) else None
        return "; ".join(
            f"{describe_actor(event, actors)}: {describe_change(event, users, limit=_MAX_VALUE)}"
            for event in events
        )

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


def case_variants_text(model: type[Model], key: str) -> str:
    """Returns the sentence; empty if there is no such key. Makes a query."""
    similar = case_variants(model, key)
    if not similar:
        return ""
    text = _("Keys are case-sensitive: “%(key)s” differs only in case from %(keys)s.")
    keys = local_list(quoted(variant) for variant in similar)
    return text % {"key": key, "keys": keys}
