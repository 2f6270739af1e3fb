"""The form fields of rules and conditions: rows of inputs, or JSON."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import ngettext

from flagstaff._words.local_formats import local_number
from flagstaff.admin.json_fields import ConditionsField, RulesField, ValueField
from flagstaff.admin.rule_editor.edits import PostedRows
from flagstaff.admin.rule_editor.problems import problems_of
from flagstaff.admin.rule_editor.rows import RuleRow, conditions_of_rows, rules_of_rows
from flagstaff.admin.rule_editor.widget import RefusedText


class _RowsField(ValueField):
    """Reads rows beside JSON."""

    def prepare_value(self, value: object) -> Any:
        """The rows, or the text in the form."""
        return (
            value if isinstance(value, PostedRows | RefusedText) else super().prepare_value(value)
        )

    def bound_data(self, data: object, initial: object) -> object:
        """The rows or the text as the user has typed them."""
        is_typed = isinstance(data, PostedRows | RefusedText) and not self.disabled
        return data if is_typed else super().bound_data(data, initial)

    def to_python(self, value: object) -> Any:
        """The JSON of rows. Raises ValidationError if an input has a problem."""
        if not isinstance(value, PostedRows):
            return super().to_python(value)
        if problems := self.count_problems(value.rules):
            text = ngettext(
                "Correct the problem that is marked below.",
                "Correct the %(count)s problems that are marked below.",
                problems,
            )
            params = {"count": local_number(problems)}
            raise ValidationError(text, code="rows", params=params)
        return self.json_of(value.rules)

    def count_problems(self, rules: tuple[RuleRow, ...]) -> int:
        """The number of inputs with a problem."""
        return len([*problems_of(rules)])

    def json_of(self, rules: tuple[RuleRow, ...]) -> list[dict[str, Any]]:
        """The JSON of valid rows."""
        raise NotImplementedError


class RuleRowsField(_RowsField, RulesField):
    """The rules of a flag."""

    def json_of(self, rules: tuple[RuleRow, ...]) -> list[dict[str, Any]]:
        """The JSON of the rules."""
        return rules_of_rows(rules)


class ConditionRowsField(_RowsField, ConditionsField):
    """The conditions of a segment."""

    def count_problems(self, rules: tuple[RuleRow, ...]) -> int:
        """The number of inputs with a problem. The field is required: none is its own error."""
        return super().count_problems(tuple(rule for rule in rules if rule.conditions))

    def json_of(self, rules: tuple[RuleRow, ...]) -> list[dict[str, Any]]:
        """The JSON of the conditions."""
        return conditions_of_rows([condition for rule in rules for condition in rule.conditions])
