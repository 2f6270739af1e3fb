"""The form of a value: an input that fits its rule, and a question before its type changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from flagstaff._stored_value_rules import CHOICES, TYPE, VALUE, has_value_rules, value_rule_of
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.message import localized
from flagstaff._words.value_rules import TYPE_LABELS, ValueRule, type_of
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.json_fields import ChoicesField
from flagstaff.admin.saving import set_widget
from flagstaff.admin.value.json_input import NEW_TYPE, JsonInput, mistake_in
from flagstaff.history.describe import describe_value
from flagstaff.history.kinds import Kind

_MIN_ROWS, _MAX_ROWS = 4, 24


class ValueForm(MergingForm):
    """The form of a value."""

    kind = Kind.VALUE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if VALUE not in self.fields:
            return
        field = self.fields[VALUE]
        if isinstance(value := self.initial.get(VALUE), UnreadableJson):
            text = _("The stored value is %(value)s. Write another one, or delete this row.")
            field.help_text = text % {"value": describe_value(value)}
        elif options := list(self._options()):
            classes = field.widget.attrs.get("class", "")
            set_widget(field, _Select({"class": classes}, _choices(options)))
            field.help_text = _("The type and the choices below limit the value.")
        elif isinstance(field.widget, JsonInput):
            rows = str(self[VALUE].value() or "").count("\n") + 2
            field.widget.attrs["rows"] = min(max(rows, _MIN_ROWS), _MAX_ROWS)

    def clean(self) -> dict[str, Any] | None:
        """Validates the form."""
        if VALUE in self.errors:
            # Else the model would add a second error, about a missing value.
            self.instance.value = ""
        cleaned = super().clean()
        self._confirm_new_type()
        return cleaned

    def full_clean(self) -> None:
        """Validates. The text area marks a mistake in its text."""
        super().full_clean()
        widget = self.fields[VALUE].widget if VALUE in self.fields else None
        text = self.data.get(self.add_prefix(VALUE)) if self.is_bound else None
        if isinstance(widget, JsonInput) and isinstance(text, str) and VALUE in self.errors:
            widget.mistake = mistake_in(text) if text.strip() else None

    def _get_validation_exclusions(self) -> set[str]:
        """Leaves out a rule that this save does not touch."""
        names = super()._get_validation_exclusions()
        is_touched = {VALUE, TYPE, CHOICES}.intersection(self.changed_data)
        return names if is_touched or self.instance._state.adding else {*names, VALUE, CHOICES}

    def _confirm_new_type(self) -> None:
        """Adds an error to an edited value of another type, unless it was confirmed."""
        old, new = self.initial.get(VALUE), self.cleaned_data.get(VALUE)
        is_edited = VALUE in self.changed_data and VALUE not in self.errors
        if self.instance._state.adding or not is_edited or isinstance(old, UnreadableJson):
            return
        types = type_of(old), type_of(new)
        has_own_rule = self.cleaned_data.get(TYPE) or self.cleaned_data.get(CHOICES)
        if types[0] == types[1] or has_own_rule or self.data.get(NEW_TYPE) == types[1]:
            return
        labels = [localized(TYPE_LABELS[name]) for name in types]
        widget = self.fields[VALUE].widget
        if isinstance(widget, JsonInput):
            widget.new_type, widget.new_type_label = types[1], labels[1]
        text = _(
            "The value was %(old)s and would become %(new)s. Code that reads it may fail. To save "
            "it, tick the box below and save again."
        )
        texts = {"old": labels[0], "new": labels[1]}
        self.add_error(VALUE, forms.ValidationError(text, code="new_type", params=texts))

    def _options(self) -> Iterator[object]:
        """Yields the values to choose from; none if the rule allows others, too.

        Also what is stored, so that nothing is lost.
        """
        if self.instance._state.adding:
            return
        rule = self._rule()
        if rule.choices:
            yield from rule.choices
        elif rule.type == "boolean":
            yield from (True, False)
        else:
            return
        yield self.initial.get(VALUE)

    def _rule(self) -> ValueRule:
        """Returns the rule of the page: as it was submitted, or else as it is stored."""
        stored = value_rule_of(self.instance)
        if not (self.is_bound and has_value_rules(type(self.instance)) and TYPE in self.data):
            return stored
        try:
            choices = ChoicesField().to_python(self.data.get(CHOICES))
        except forms.ValidationError:
            return stored
        return ValueRule(str(self.data[TYPE]), choices if isinstance(choices, list) else ())


class _Select(forms.Select):
    """Has what was submitted as an option, too: else the browser would select another one."""

    def optgroups(self, name: str, value: Any, attrs: dict[str, Any] | None = None) -> Any:
        """The options, with the present text."""
        known = {text for text, _label in self.choices}
        more = ((text, text) for text in value if text and text not in known)
        self.choices = [*self.choices, *more]
        return super().optgroups(name, value, attrs)


def _choices(options: Iterable[object]) -> list[tuple[str, str]]:
    texts = dict.fromkeys(json.dumps(one, ensure_ascii=False) for one in options)
    return [(text, text) for text in texts]
