"""The form of a value: an input that fits its rule, and a question before its type changes.

The input marks a mistake in its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.translation import gettext as _

from flagstaff._stored_value_schema import CHOICES, TYPE, VALUE, is_secret, value_schema_of
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import RULES
from flagstaff._words.json_text import parse_json, why_undecodable
from flagstaff._words.text import localized
from flagstaff._words.value_schema import TYPE_LABELS, ValueSchema, type_of
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.json_fields import IndentedField, ListField, set_widget
from flagstaff.admin.page import request_of
from flagstaff.admin.rule_editor.edits import PostedRows
from flagstaff.admin.rule_editor.fields import RulesWidget, refuse_rules
from flagstaff.admin.rule_editor.rule_values import RuleValues, masked_values, type_of_own
from flagstaff.history.kinds import Kind

# The parameter of the page that shows a secret value.
_SHOW = "show"
_MIN_ROWS, _MAX_ROWS = 4, 24
# The name of the check box that confirms a new type.
_NEW_TYPE = "_new_type"
#: The button that writes the value and removes the rules.
EVERYONE = "_everyone"
# Characters of a line on each side of a mistake.
_AROUND = 30


class ValueForm(MergingForm):
    """The form of a value."""

    kind = Kind.VALUE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get(VALUE)
        if isinstance(field, IndentedField) and self._is_masked():
            field.is_masked, field.required = True, False
            field.help_text = format_html(
                '{} <a href="?{}=1">{}</a> {}',
                _("The value is secret. Leave this empty to keep the value, or type a new one."),
                *(_SHOW, _("Show"), field.help_text),
            )
        elif field and (options := [*self._options()]):
            texts = dict.fromkeys(json.dumps(one, ensure_ascii=False) for one in options)
            classes = field.widget.attrs.get("class", "")
            set_widget(field, _Select({"class": classes}, [(text, text) for text in texts]))
            field.help_text = _("The type and the choices below limit the value.")
        elif field and isinstance(field.widget, JsonInput):
            rows = str(self[VALUE].value() or "").count("\n") + 2
            field.widget.attrs["rows"] = min(max(rows, _MIN_ROWS), _MAX_ROWS)
        self._prepare_rules()

    def _prepare_rules(self) -> None:
        """Tells the editor what the rules can give. An older page has no unit."""
        if self._is_for_everyone():
            self._remove_posted_rules()
        unit = self.fields.get(BUCKET_BY)
        is_omitted = unit is not None and unit.widget.value_omitted_from_data(
            self.data, self.files, self.add_prefix(BUCKET_BY)
        )
        if unit is not None and self.is_bound and is_omitted:
            unit.disabled = True
        widget = self.fields[RULES].widget if RULES in self.fields else None
        if isinstance(widget, RulesWidget):
            is_masked = self._is_masked()
            widget.values = RuleValues(
                self._rule(),
                "" if is_masked else self._own_type(),
                is_secret(self.instance),
                masked_values(self.initial.get(RULES)) if is_masked else {},
            )

    def _is_for_everyone(self) -> bool:
        """Whether the button was pressed that removes the rules, whatever they are."""
        return EVERYONE in self.data and RULES in self.fields

    def _remove_posted_rules(self) -> None:
        """Leaves out rows that may be older than the stored rules."""
        name, data = self.add_prefix(RULES), cast("QueryDict", self.data).copy()
        for key in [key for key in data if key.startswith(f"{name}-")]:
            del data[key]
        data[name] = ""
        self.data = data

    def _conflicts(self) -> Iterator[str]:
        """The edited fields with a newer value. Newer rules are removed, too."""
        found = super()._conflicts()
        return (name for name in found if name != RULES or not self._is_for_everyone())

    def _own_type(self) -> str:
        """Returns the type of the value itself: as it was submitted, or else as it is stored."""
        text = self.data.get(self.add_prefix(VALUE)) if self.is_bound else None
        try:
            return type_of_own(parse_json(str(text)) if text else self.initial.get(VALUE))
        except ValueError:
            return ""

    def _is_masked(self) -> bool:
        """Whether the page shows the input of a stored secret empty. The link *Show* opens it."""
        if self.instance._state.adding or not is_secret(self.instance):
            return False
        request = request_of(self.instance)
        return request is None or _SHOW not in request.GET

    def clean_value(self) -> Any:
        """Returns the value, which an empty input keeps if it is masked."""
        return self.initial.get(VALUE) if self._keeps_secret() else self.cleaned_data[VALUE]

    def _keeps_secret(self) -> bool:
        """Whether the input is masked, and nothing was typed into it."""
        field, typed = self.fields.get(VALUE), self.data.get(self.add_prefix(VALUE), "")
        return isinstance(field, IndentedField) and field.is_masked and not str(typed).strip()

    def clean(self) -> dict[str, Any] | None:
        """Validates the form."""
        if VALUE in self.errors:
            # Else the model would add a second error, about a missing value.
            self.instance.value = ""
        cleaned = super().clean()
        self._confirm_new_type()
        refuse_rules(self, RULES)
        if self._keeps_secret() and self.cleaned_data.get("secret") is False:
            text = _("Everybody who may view values will see this value. Type it again to confirm.")
            self.add_error(VALUE, forms.ValidationError(text, code="public"))
        if self._keeps_secret_rules() and self.cleaned_data.get("secret") is False:
            text = _(
                "Everybody who may view values will see the values of these rules. Type them again "
                "to confirm."
            )
            self.add_error(RULES, forms.ValidationError(text, code="public"))
        return cleaned

    def clean_rules(self) -> Any:
        """Returns the rules, which an empty text keeps if they are masked."""
        if self._is_for_everyone():
            return []
        keeps = self._masked_rules() == ""
        return self.initial.get(RULES) if keeps else self.cleaned_data[RULES]

    def _masked_rules(self) -> PostedRows | str | None:
        """Returns the rows or the text as they were posted; None if the rules are not masked."""
        widget = self.fields[RULES].widget if RULES in self.fields else None
        if not isinstance(widget, RulesWidget) or not widget.is_masked:
            return None
        posted = widget.value_from_datadict(self.data, self.files, self.add_prefix(RULES))
        return posted if isinstance(posted, PostedRows) else str(posted or "").strip()

    def _keeps_secret_rules(self) -> bool:
        """Whether a masked value of a rule was not typed again."""
        if self._is_for_everyone():
            return False
        posted = self._masked_rules()
        if isinstance(posted, PostedRows):
            return any(rule.value and rule.value.is_kept for rule in posted.rules)
        return posted == ""

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
        if self.instance._state.adding or not is_edited:
            return
        types = type_of(old), type_of(new)
        has_own_rule = self.cleaned_data.get(TYPE) or self.cleaned_data.get(CHOICES)
        if types[0] == types[1] or has_own_rule or self.data.get(_NEW_TYPE) == types[1]:
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

    def _rule(self) -> ValueSchema:
        """Returns the rule of the page: as it was submitted, or else as it is stored."""
        stored = value_schema_of(self.instance)
        if not (self.is_bound and TYPE in self.data):
            return stored
        try:
            choices = ListField().to_python(self.data.get(CHOICES))
        except forms.ValidationError:
            return stored
        return ValueSchema(str(self.data[TYPE]), choices if isinstance(choices, list) else ())


class _Select(forms.Select):
    """Has what was submitted as an option, too: else the browser would select another one."""

    def optgroups(self, name: str, value: Any, attrs: dict[str, Any] | None = None) -> Any:
        """The options, with the present text."""
        known = {text for text, _label in self.choices}
        more = ((text, text) for text in value if text and text not in known)
        self.choices = [*self.choices, *more]
        return super().optgroups(name, value, attrs)


@dataclass(frozen=True)
class Mistake:
    """The place of a mistake in a text."""

    line: int
    column: int
    #: The index in the text as a browser counts it.
    offset: int
    #: The line, or what is around the mistake, and a line with a caret below the mistake.
    excerpt: str


class JsonInput(AdminTextareaWidget):
    """A text area for the JSON of a value."""

    template_name = "flagstaff/json_input.html"
    mistake: Mistake | None = None
    #: The new type that the user has to confirm, and its name in words; empty without one.
    new_type = ""
    new_type_label = ""

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/values.css")}
        js = ("flagstaff/json_input.js",)

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the mistake and the question."""
        context = super().get_context(name, value, attrs)
        attributes = context["widget"]["attrs"]
        if self.mistake is not None:
            described = attributes.get("aria-describedby", "")
            own = f"{attributes.get('id', name)}_mistake"
            attributes["aria-describedby"] = f"{described} {own}".strip()
        return {
            **context,
            "mistake": self.mistake,
            "new_type": self.new_type,
            "new_type_name": _NEW_TYPE,
            "new_type_label": self.new_type_label,
        }


def mistake_in(text: str) -> Mistake | None:
    """Returns the place of the first mistake in a JSON text, or None."""
    # As in the text area of a browser, which sends other line ends.
    text = text.replace("\r\n", "\n")
    if why_undecodable(text):
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-16-le", "replace")) // 2
        excerpt = _excerpt(text, error.lineno, error.colno)
        return Mistake(error.lineno, error.colno, offset, excerpt)
    return None


def _excerpt(text: str, line: int, column: int) -> str:
    whole = text.split("\n")[line - 1].replace("\t", " ")
    start = max(column - 1 - _AROUND, 0)
    end = column - 1 + _AROUND
    before = "…" if start else ""
    excerpt = f"{before}{whole[start:end]}{'…' if end < len(whole) else ''}"
    return f"{excerpt}\n{' ' * (column - 1 - start + len(before))}^"
