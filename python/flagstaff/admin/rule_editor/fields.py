"""The form fields of rules and conditions, and their widget: rows of inputs, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from flagstaff._words.json_text import parse_json
from flagstaff._words.rule_json import rules_json
from flagstaff._words.text import TextError, local_number
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.json_fields import ConditionsField, RulesField, ValueField
from flagstaff.admin.rule_editor.context import Editor, Offer
from flagstaff.admin.rule_editor.edits import (
    EDIT,
    PostedRows,
    edit_rows,
    marker_of,
    read_rows,
    without_empty,
)
from flagstaff.admin.rule_editor.marks import mark_texts
from flagstaff.admin.rule_editor.problems import problems_of
from flagstaff.admin.rule_editor.rows import (
    MAX_ROWS,
    ConditionRow,
    RuleRow,
    row_count,
    rows_of_conditions,
    rows_of_rules,
)
from flagstaff.admin.rule_editor.rule_values import RuleValues
from flagstaff.changes.segment_use import missing_segment

# The edits that replace the rows by JSON, and JSON by rows.
_AS_JSON = "json"
_AS_ROWS = "rows"


class _RefusedText(InvalidJSONInput):
    """A JSON text that was to be edited as rows, which cannot show it."""


class RulesWidget(AdminTextareaWidget):
    """Rows of rules or of the conditions of a segment; a text area for JSON without rows."""

    template_name = "flagstaff/rule_editor/editor.html"

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/rule_editor.css")}
        js = ("flagstaff/rule_editor.js", "flagstaff/impact.js")

    def __init__(
        self,
        attrs: dict[str, Any],
        *,
        of_segment: bool,
        offer: Callable[[], Offer],
        json_help: SafeString,
    ) -> None:
        """Takes a function that returns what the editor offers, when a page needs it.

        `json_help` is shown beside the text area.
        """
        super().__init__(attrs)
        self.of_segment = of_segment
        self.offer = offer
        self.json_help = json_help
        #: What the rules of a value can give, which its form knows; None for other rules.
        self.values: RuleValues | None = None

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. A text without rows, or typed as JSON, stays JSON."""
        posted = value if isinstance(value, PostedRows) else None
        if posted is None and not isinstance(value, InvalidJSONInput):
            posted = self._rows_of(str(value or ""))
        context = super().get_context(name, "" if posted else value, attrs)
        context["edit"] = EDIT
        if posted is None:
            is_refused = isinstance(value, _RefusedText)
            if is_masked := self.is_masked and not isinstance(value, InvalidJSONInput):
                context["widget"]["value"] = ""
            states = {"is_refused": is_refused, "is_masked": is_masked}
            return {**context, "json_help": self.json_help, **states}
        field_id = str(context["widget"]["attrs"].get("id", f"id_{name}"))
        editor = Editor(name, field_id, self.offer(), posted)
        rows = editor.context()
        return {**context, **rows, "has_rows": True}

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> Any:
        """The rows of a submitted form as `PostedRows`, or the text of its text area."""
        edit = data.get(EDIT, "")
        if marker_of(name) not in data:
            text = super().value_from_datadict(data, files, name)  # type: ignore[arg-type]
            is_text = edit != _AS_ROWS or text is None
            return text if is_text else self._rows_of(text) or _RefusedText(text)
        rules, places = read_rows(data, name)
        if self.of_segment and not rules:
            # It has the conditions of one rule, also without any.
            rules, places = [RuleRow()], {"0": (0, None)}
        # A form of this editor cannot have too many: they were typed as JSON, or by a script.
        if edit == _AS_JSON or row_count(rules) > MAX_ROWS:
            value = PostedRows(rules, self.of_segment, values=self.values).as_json()
            return rules_json(value) if value else ""
        if edit:
            focus = edit_rows(rules, places, edit, self.values)
            return PostedRows(rules, self.of_segment, is_edit=True, focus=focus, values=self.values)
        rules = without_empty(rules, of_segment=self.of_segment)
        return PostedRows(rules, self.of_segment, values=self.values)

    def value_omitted_from_data(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> bool:
        """Whether the form had neither rows nor a text area."""
        return marker_of(name) not in data and name not in data

    @property
    def is_masked(self) -> bool:
        """Whether the page does not contain the values of the stored rules."""
        return self.values is not None and bool(self.values.masked)

    def _rows_of(self, text: str) -> PostedRows | None:
        """The rows of a JSON text; None if rows cannot show it."""
        try:
            value = parse_json(text) if text.strip() else []
        except ValueError:
            return None
        rules: list[RuleRow] | None
        if not self.of_segment:
            rules = rows_of_rules(value, self.values)
        else:
            # A new segment has one condition without an attribute.
            conditions = [ConditionRow()] if value == [] else rows_of_conditions(value)
            rules = None if conditions is None else [RuleRow(conditions=conditions)]
        if rules is None:
            return None
        return PostedRows(rules, self.of_segment, is_edit=True, values=self.values)


class _RowsField(ValueField):
    """Reads rows beside JSON."""

    of_segment: ClassVar[bool] = False

    def prepare_value(self, value: object) -> Any:
        """The rows, or the text in the form."""
        is_typed = isinstance(value, PostedRows | _RefusedText)
        return value if is_typed else super().prepare_value(value)

    def bound_data(self, data: object, initial: object) -> object:
        """The rows or the text as the user has typed them."""
        is_typed = isinstance(data, PostedRows | _RefusedText) and not self.disabled
        return data if is_typed else super().bound_data(data, initial)

    def to_python(self, value: object) -> Any:
        """The JSON of rows. Raises ValidationError if an input has a problem."""
        if not isinstance(value, PostedRows):
            return super().to_python(value)
        if problems := len(problems_of(value)):
            text = ngettext(
                "Correct the problem that is marked below.",
                "Correct the %(count)s problems that are marked below.",
                problems,
            )
            params = {"count": local_number(problems)}
            raise ValidationError(text, code="rows", params=params)
        return value.as_json()


class RuleRowsField(_RowsField, RulesField):
    """The rules of a flag."""


class ConditionRowsField(_RowsField, ConditionsField):
    """The conditions of a segment."""

    of_segment = True


def refuse_rules(form: MergingForm, name: str) -> None:
    """Adds an error to an edited field if its rules or conditions are not valid.

    Workers can read them, their segments exist, and each condition that was typed can match.
    """
    if name not in form.changed_data or name not in form.cleaned_data:
        return
    rules = form.cleaned_data[name]
    try:
        # The model asks again later, but what follows takes seconds for thousands of rules.
        form.instance._meta.get_field(name).run_validators(rules)
    except ValidationError as error:
        form.add_error(name, error)
        return
    if problem := missing_segment(rules):
        form.add_error(name, TextError(problem))
    elif errors := mark_texts(rules, errors=True, stored=form.initial.get(name)):
        form.add_error(name, errors)
