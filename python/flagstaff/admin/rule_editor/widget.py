"""The widgets for rules and for the conditions of a segment: rows, or a text area with JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.admin.widgets import AdminTextareaWidget
from django.forms.fields import InvalidJSONInput
from django.utils.safestring import SafeString

from flagstaff._words.json_text import parse_json
from flagstaff._words.rule_json import conditions_json, rules_json
from flagstaff.admin.rule_editor.context import Editor, editor_context
from flagstaff.admin.rule_editor.edits import EDIT, PostedRows, edited_rows, marker_of, read_rows
from flagstaff.admin.rule_editor.rows import (
    ConditionRow,
    RuleRow,
    conditions_of_rows,
    rows_of_conditions,
    rows_of_rules,
    rules_of_rows,
)

# The edits that replace the rows by JSON, and JSON by rows.
_AS_JSON = "json"
_AS_ROWS = "rows"
_NO_HELP = SafeString("")


class RefusedText(InvalidJSONInput):
    """A JSON text that was to be edited as rows, which cannot show it."""


class RulesWidget(AdminTextareaWidget):
    """The rules of a flag."""

    template_name = "flagstaff/rule_editor/editor.html"
    of_segment = False

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/rule_editor.css")}
        js = ("flagstaff/rule_editor.js",)

    def __init__(
        self,
        attrs: dict[str, Any] | None = None,
        *,
        attributes: Callable[[], list[str]] = list,
        segments: Callable[[], list[str]] = list,
        json_help: SafeString = _NO_HELP,
    ) -> None:
        """Takes functions that return the known attributes and segments, when a page needs them.

        `json_help` is shown beside the text area.
        """
        super().__init__(attrs)
        self.attributes = attributes
        self.segments = segments
        self.json_help = json_help

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. A text without rows, or typed as JSON, stays JSON."""
        posted = value if isinstance(value, PostedRows) else self._shown_rows(value)
        context = super().get_context(name, "" if posted else value, attrs)
        found: dict[str, Any] = context["widget"]["attrs"]
        shared: dict[str, Any] = {
            "json_help": self.json_help,
            "is_refused": isinstance(value, RefusedText),
        }
        if posted is None:
            return {**context, **shared, "edit": EDIT}
        editor = Editor(
            name,
            str(found.get("id", f"id_{name}")),
            of_segment=self.of_segment,
            attributes=self.attributes(),
            segments=[] if self.of_segment else self.segments(),
        )
        has_problems = isinstance(value, PostedRows) and not value.is_edit
        rows = editor_context(editor, posted, has_problems=has_problems)
        return {**context, **shared, **rows, "has_rows": True}

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> Any:
        """The rows of a submitted form as `PostedRows`, or the text of its text area."""
        edit = data.get(EDIT, "")
        if marker_of(name) not in data:
            text = super().value_from_datadict(data, files, name)  # type: ignore[arg-type]
            return self._as_rows(text) if edit == _AS_ROWS and text is not None else text
        rules, places = read_rows(data, name)
        if self.of_segment and not rules:
            # It has the conditions of one rule, also without any.
            rules, places = (RuleRow(),), {"0": (0, None)}
        if edit == _AS_JSON:
            return self.json_of(rules)
        return edited_rows(rules, places, edit) if edit else PostedRows(rules)

    def value_omitted_from_data(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> bool:
        """Whether the form had neither rows nor a text area."""
        return marker_of(name) not in data and name not in data

    def json_of(self, rules: tuple[RuleRow, ...]) -> str:
        """The JSON of rows, to be edited."""
        return rules_json(rules_of_rows(rules)) if rules else ""

    def rows_of(self, value: object) -> tuple[RuleRow, ...] | None:
        """The rows of parsed JSON; None if rows cannot show it."""
        return rows_of_rules(value)

    def _shown_rows(self, value: object) -> PostedRows | None:
        """The rows of what is stored; None for a text that was typed or has no rows."""
        if isinstance(value, InvalidJSONInput):
            return None
        rows = self._parsed(str(value or ""))
        return None if rows is None else PostedRows(rows, is_edit=True)

    def _as_rows(self, text: str) -> PostedRows | RefusedText:
        rows = self._parsed(text)
        return RefusedText(text) if rows is None else PostedRows(rows, is_edit=True)

    def _parsed(self, text: str) -> tuple[RuleRow, ...] | None:
        try:
            return self.rows_of(parse_json(text) if text.strip() else [])
        except ValueError:
            return None


class ConditionsWidget(RulesWidget):
    """The conditions of a segment."""

    of_segment = True

    def json_of(self, rules: tuple[RuleRow, ...]) -> str:
        """The JSON of rows, to be edited."""
        conditions = [condition for rule in rules for condition in rule.conditions]
        return conditions_json(conditions_of_rows(conditions)) if conditions else ""

    def rows_of(self, value: object) -> tuple[RuleRow, ...] | None:
        """The conditions as those of one rule. A new segment has one without an attribute."""
        if value == []:
            return (RuleRow(conditions=(ConditionRow(),)),)
        rows = rows_of_conditions(value)
        return None if rows is None else (RuleRow(conditions=rows),)
