"""The form of a flag and its inputs, and what the list shows of the rollout and the unit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import CharField
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY, USER, VISITOR, short_unit
from flagstaff._tables.model_fields import OWNER, REVIEW_ON, RULES, TAGS
from flagstaff._words.text import TextError
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.json_fields import set_widget
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.rule_editor.fields import refuse_rules
from flagstaff.admin.unit_input import UnitInput
from flagstaff.validators import tags_problem, unit_problem, validate_tags

#: The owner, the tags and the review date, in the order of the page.
OWNERSHIP = (OWNER, TAGS, REVIEW_ON)
STEPS = (0, 1, 5, 25, 50, 100)


class RolloutInput(forms.NumberInput):
    """A number input with a button for each common step of a rollout."""

    template_name = "flagstaff/rollout_input.html"
    #: Where a script asks for the impact of the form, and the impact that was counted without it.
    impact_url = ""
    impact_text = ""

    class Media:
        css = {"all": ("flagstaff/admin.css",)}
        js = ("flagstaff/rollout.js", "flagstaff/impact.js")

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the steps."""
        context = super().get_context(name, value, {"min": 0, "max": 100, **(attrs or {})})
        impact = {"impact_url": self.impact_url, "impact_text": self.impact_text}
        return {**context, **impact, "steps": STEPS}


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """The line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line, or a list in JSON. A disabled field gets the stored tags."""
        try:
            given = value if isinstance(value, list) else json.loads(str(value))
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, list):
            return given
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """The line as the user has typed it."""
        return initial if self.disabled else data


class FlagForm(MergingForm):
    """The form of a flag. Its unit must be usable, and the segments of its rules must exist."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The submitted page may be one of an older version: fields that it lacks stay.
        optional = {BUCKET_BY, *OWNERSHIP} if self.is_bound else set()
        for name in self.fields.keys() & optional:
            field = self.fields[name]
            if field.widget.value_omitted_from_data(self.data, self.files, self.add_prefix(name)):
                field.disabled = True

    def clean(self) -> dict[str, Any] | None:
        """Validates the form."""
        cleaned = super().clean()
        data = self.cleaned_data
        edited = {name: data[name] for name in self.changed_data if name in data}
        refuse_rules(self, RULES)
        unit = edited.get(BUCKET_BY)
        if unit is not None and (problem := unit_problem(unit)):
            self.add_error(BUCKET_BY, TextError(problem))
        return cleaned


class FlagInputs(Part):
    """A rollout with buttons, a bucketing unit with suggestions, and tags as a line of text."""

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """The options of the unit and of the tags."""
        if db_field.name == BUCKET_BY:
            # Not required: a text that only SQL can write must not stop other changes of the flag.
            return {"required": False}
        if db_field.name == TAGS:
            separate = _("Separate them with commas.")
            help_text = f"{db_field.help_text} {separate}".strip()
            return {"form_class": TagsField, "help_text": help_text, "required": False}
        return {}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field, with the attributes of the theme's input."""
        if db_field.name == "rollout_percent":
            set_widget(field, RolloutInput(field.widget.attrs))
        elif field.widget.is_hidden:
            return field
        elif isinstance(field, TagsField):
            if like := self.admin.formfield_for_dbfield(CharField(max_length=1), request):
                like.widget.attrs.pop("maxlength", None)
                set_widget(field, like.widget)
        elif isinstance(field, forms.CharField) and db_field.name == BUCKET_BY:
            set_widget(field, UnitInput(field.widget.attrs))
        return field

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """Tags that SQL has written and that are no list of texts."""
        is_usable = row is None or tags_problem(row.tags) is None
        return () if is_usable else (TAGS,)

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Says what a new unit of an existing flag has done."""
        if not is_new and BUCKET_BY in form.changed_data:
            self.admin.message_user(request, reassigned_text(), messages.WARNING)


def reassigned_text() -> str:
    """Returns the message about a new unit that has been written."""
    return _(
        "The new unit reassigned every user. If the flag is on for a percentage, some users gained "
        "it and others lost it."
    )


def unit_note(flag: Any) -> str:
    """Returns what the percentage of a flag counts, for the list; "" if it counts users."""
    unit = flag.bucket_by
    if unit == USER:
        return ""
    return _("of visitors") if unit == VISITOR else _("by %(unit)s") % {"unit": short_unit(unit)}


def rollout_bar(percent: int, *, enabled: bool) -> SafeString:
    """A percentage and a bar, grey if the flag is disabled."""
    html = (
        '<span class="flagstaff-percent"><progress class="flagstaff-bar{}" max="100" value="{}" '
        'aria-hidden="true"></progress> {} %</span>'
    )
    return format_html(html, "" if enabled else " flagstaff-bar-off", percent, percent)
