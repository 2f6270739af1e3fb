"""The owner, the tags and the review date of a flag in the admin: inputs and filters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import CharField, Field, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.optional_fields import (
    OWNER,
    REVIEW_ON,
    TAGS,
    WITHOUT_OWNER,
    FlagModel,
    optional_fields,
)
from flagstaff._tables.rows import all_rows
from flagstaff._tables.tags import usable_tags, with_tags
from flagstaff.admin.own_fields import OwnFieldsMixin
from flagstaff.admin.saving import set_widget
from flagstaff.validators import tags_problem, validate_tags

#: The fields, in the order of the page.
OWNERSHIP = (OWNER, TAGS, REVIEW_ON)


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """The line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line, or a list in JSON. A disabled field gets the stored tags."""
        if isinstance(value, list):
            return value
        if isinstance(items := _json(value), list):
            return items
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """The line as the user has typed it."""
        return initial if self.disabled else data


def _json(text: object) -> object:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


class OwnershipMixin(OwnFieldsMixin):
    """The fields about the ownership of a flag. Put it before SavingMixin and OwnFieldsMixin."""

    def known_names(self) -> set[str]:
        """Returns the names of flagstaff's fields. Other fields with these names are not known."""
        return super().known_names() - ({*OWNERSHIP} - {*FlagModel.of(self.model).fields})

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field. Tags are a line of text, and look like the theme's text inputs."""
        if db_field != FlagModel.of(self.model).fields.get(TAGS):
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        separate = _("Separate them with commas.")
        help_text = f"{db_field.help_text} {separate}".strip()
        options = {"form_class": TagsField, "help_text": help_text, "required": False}
        field = super().formfield_for_dbfield(db_field, request, **{**options, **kwargs})
        like = super().formfield_for_dbfield(CharField(max_length=1), request)
        if isinstance(field, TagsField) and like is not None and not field.widget.is_hidden:
            like.widget.attrs.pop("maxlength", None)
            set_widget(field, like.widget)
        return field

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The read-only fields, with tags that SQL has written and that are no list of texts."""
        readonly = tuple(super().get_readonly_fields(request, obj))
        is_usable = obj is None or tags_problem(optional_fields(obj).tags) is None
        return readonly if is_usable else (*readonly, TAGS)


def keep_missing_ownership(form: forms.ModelForm[Any]) -> None:
    """Keeps the fields that the submitted page lacks: it may be a page of an older version."""
    if not form.is_bound:
        return
    for name in form.fields.keys() & FlagModel.of(form._meta.model).fields.keys() & {*OWNERSHIP}:
        field = form.fields[name]
        if field.widget.value_omitted_from_data(form.data, form.files, form.add_prefix(name)):
            field.disabled = True


class OwnerFilter(admin.SimpleListFilter):
    """Flags of one owner, or without an owner. Not shown if no flag has one."""

    title = gettext_lazy("owner")
    parameter_name = "owner"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The choices of the filter. One query for both filters."""
        owners = _stored(request, model_admin).owners
        choices = [(owner, owner) for owner in owners]
        return [*choices, ("", _("without an owner"))] if choices else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        owner = self.value()
        if owner is None:
            return queryset
        return queryset.filter(Q(owner=owner) if owner else WITHOUT_OWNER)


class TagFilter(admin.SimpleListFilter):
    """Flags with one tag. Not shown if no flag has one."""

    title = gettext_lazy("tag")
    parameter_name = "tag"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        """The choices of the filter. One query for both filters."""
        return [(tag, tag) for tag in _stored(request, model_admin).tags]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        tag = self.value()
        return queryset if tag is None else queryset.filter(with_tags(queryset.model, [tag]))


# The attribute of a request.
_STORED = "flagstaff_stored_ownership"


@dataclass(frozen=True)
class _Stored:
    """The owners and the tags of all flags, without regard to case."""

    owners: Sequence[str]
    tags: Sequence[str]


def _stored(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Stored:
    """Returns the owners and the tags. Reads them once for a request."""
    stored: _Stored | None = vars(request).get(_STORED)
    if stored is None:
        stored = _read(model_admin)
        vars(request)[_STORED] = stored
    return stored


def keep_ownership(request: HttpRequest, owners: Iterable[object], tags: Iterable[object]) -> None:
    """Keeps owners and lists of tags that were read already, for the filters of the request."""
    vars(request)[_STORED] = _as_stored(owners, tags)


def _read(model_admin: admin.ModelAdmin[Any]) -> _Stored:
    names = [name for name in (OWNER, TAGS) if FlagModel.of(model_admin.model).has(name)]
    rows = list(all_rows(model_admin.model).order_by().values(*names))
    return _as_stored((row.get(OWNER) for row in rows), (row.get(TAGS) for row in rows))


def _as_stored(owners: Iterable[object], tags: Iterable[object]) -> _Stored:
    every = {tag for tags_of_flag in tags for tag in usable_tags(tags_of_flag)}
    return _Stored(_sorted({str(owner or "") for owner in owners} - {""}), _sorted(every))


def _sorted(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (text.casefold(), text))
