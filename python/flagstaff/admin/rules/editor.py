"""The editor of rules as a form field: rows, buttons that change them, and JSON as text.

A page works without a script: each button posts the form, and the server answers with the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise

from flagstaff._tables.attributes import with_keys
from flagstaff._text import is_same_json, say
from flagstaff._text.rules import in_reading_order
from flagstaff.actions.arguments import JsonField
from flagstaff.admin.rules.forms import (
    CONDITION_FORMS,
    JSON_OPERATORS,
    Offer,
    RuleForm,
    Texts,
    ValueRuleForm,
    texts_of_rule,
    with_object,
)
from flagstaff.validators import VALUE, condition_problem, rule_problem, value_rule_problem

#: The name of the buttons that change rows, or show what they would change, and save nothing.
EDIT = "_edit"
#: The stored rules and conditions that rows show. Django accepts 1,000 fields of a form.
MAX_ROWS = 120
_RULE = ("name", "rollout_percent", "value")
_CONDITION = ("negate", "attribute", "operator", "values", "segment", "flag", "state", "bucket")
_STEPS = {"up": -1, "down": 1}
_JSON = JsonField(required=False, empty_value=[])
_EXAMPLE: Mapping[str, Any] = {
    "name": "beta in DACH",
    "conditions": [
        {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]},
        {"attribute": "plan", "operator": "in", "values": ["free"], "negate": True},
    ],
    "rollout_percent": 25,
}


class Line(NamedTuple):
    """A rule with its conditions."""

    form: RuleForm
    conditions: Sequence[Any]


class Editor:
    """The rows of a page, and what is typed into them."""

    def __init__(
        self, widget: RulesWidget, name: str, rules: Sequence[Texts], *, is_edited: bool = False
    ) -> None:
        """Takes the texts of the rules. Rows that are edited have no problems yet."""
        self._widget, self._name = widget, name
        self.lines = [self._line(number, rule) for number, rule in enumerate(rules)]
        #: None if a row has a problem. Blank rows are left out.
        self.rules = self._typed()
        if is_edited:
            for line in self.lines:
                for row in (line.form, *line.conditions):
                    row.errors.clear()

    @property
    def json(self) -> Any:
        """The rules, or the conditions of the segment; None if a row has a problem."""
        return self.rules[0]["conditions"] if self._widget.of_segment and self.rules else self.rules

    def _line(self, number: int, rule: Texts) -> Line:
        widget, place, label = self._widget, str(number), say("Rule {rule}")
        of_rule = say("Rule {rule}, condition {condition}")
        of_condition = say("Condition {condition}") if widget.of_segment else of_rule
        form_class = ValueRuleForm if widget.of_value else RuleForm
        form = form_class(self._name, place, say(label, rule=number + 1).local, rule)
        if isinstance(form, ValueRuleForm):
            form.fields[VALUE].is_nullable = widget.is_nullable  # type: ignore[attr-defined]
            form.offer(widget.results)
        conditions = []
        for at, texts in enumerate(rule["conditions"]):
            of_kind = next(
                (form for name, form in CONDITION_FORMS.items() if name in texts),
                CONDITION_FORMS["attribute"],
            )
            heading = say(of_condition, rule=number + 1, condition=at + 1).local
            conditions.append(of_kind(self._name, f"{place}-{at}", heading, texts, widget.offer))
        return Line(form, conditions)

    def _typed(self) -> list[dict[str, Any]] | None:
        rules, is_valid = [], True
        for rule, conditions in self.lines:
            filled = [condition for condition in conditions if condition.has_changed()]
            # That of all others was asked for, so an empty value in it is no empty row.
            is_of_others = self._widget.of_value and not conditions
            if not (filled or rule.has_changed() or is_of_others):
                continue
            # A rule with a name, a percentage or a value keeps one condition.
            rows = [rule, *(filled or conditions[:1])]
            for row in rows:
                row.empty_permitted = False
            if all(row.is_valid() for row in rows):
                typed_conditions = {"conditions": [row.cleaned_data for row in rows[1:]]}
                rules.append(rule.cleaned_data | typed_conditions)
            else:
                is_valid = False
        return rules if is_valid else None


class RulesWidget(forms.Textarea):
    """Rows of rules, or of the conditions of a segment; a text area for JSON without rows."""

    template_name = "flagstaff/rules.html"

    def __init__(
        self, offer: Offer, no_rules: str | Promise, *, of_segment: bool, of_value: bool
    ) -> None:
        super().__init__({"class": "vLargeTextField flagstaff-json", "rows": 12})
        self.offer, self.no_rules = offer, no_rules
        self.of_segment, self.of_value = of_segment, of_value
        #: Whether a rule may give null.
        self.is_nullable = False
        #: The labels of the values that a rule may give, by their JSON; empty for any.
        self.results: Mapping[str, object] = {}
        #: Whether rows cannot show the JSON that was to be edited as rows.
        self.is_refused = False

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. What rows cannot show is JSON."""
        editor = value if isinstance(value, Editor) else self._rows_of(name, value)
        text = "" if editor else value if isinstance(value, str) else _text_of(value)
        example = {**_EXAMPLE, **({"value": 50} if self.of_value else {})}
        return {
            **super().get_context(name, text, attrs),
            "editor": editor,
            "edit": EDIT,
            "options": self,
            "example": _text_of(example["conditions"] if self.of_segment else [example]),
            "operators": JSON_OPERATORS,
        }

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> Any:
        """The rows of a submitted form, changed by a button, or the text of its text area."""
        button = data.get(EDIT, "")
        if f"{name}-rows" not in data:
            text, editor = data.get(name), None
            if text and button == "rows":
                with suppress(ValidationError):
                    editor = self._rows_of(name, _JSON.clean(text))
                self.is_refused = editor is None
            return editor or text
        rules = self._posted(data, name)
        if button and button != "json":
            self._edit(rules, button)
            return Editor(self, name, rules, is_edited=True)
        editor = Editor(self, name, rules)
        # With a problem, the rows stay.
        return _text_of(editor.json) if button and editor.json is not None else editor

    def _rows_of(self, name: str, stored: Any) -> Editor | None:
        """The rows of stored rules; None for a text, and for what rows cannot show."""
        if stored is None or stored == []:
            blank: list[Texts] = [{"conditions": [{}]}] if self.of_segment else []
            return Editor(self, name, blank, is_edited=True)
        rules: Any = [{"conditions": stored}] if self.of_segment else stored
        if isinstance(stored, str) or self._problem_of(stored):
            return None
        texts = [texts_of_rule(rule, self.offer.reader.names) for rule in rules]
        editor = Editor(self, name, texts, is_edited=True)
        is_same = is_same_json(editor.rules, [*map(_without_false, rules)])
        count = sum(1 + len(rule["conditions"]) for rule in rules)
        return editor if is_same and count <= MAX_ROWS else None

    def _problem_of(self, stored: Any) -> object:
        """Returns why workers cannot read stored rules; None if they can."""
        if self.of_segment:
            return condition_problem(stored)
        return value_rule_problem(stored) if self.of_value else rule_problem(stored)

    def _posted(self, data: Mapping[str, str], name: str) -> list[Texts]:
        def texts(place: str, inputs: Sequence[str]) -> Texts:
            named = {field: f"{name}-{place}-{field}" for field in inputs}
            return {field: data[named[field]] for field in inputs if named[field] in data}

        rules: list[Texts] = []
        while (rule_texts := texts(f"{len(rules)}", _RULE)) or (self.of_segment and not rules):
            conditions: list[Texts] = []
            while condition := texts(f"{len(rules)}-{len(conditions)}", _CONDITION):
                conditions.append(condition)
            rules.append({**rule_texts, "conditions": conditions})
        return rules

    def _edit(self, rules: list[Texts], button: str) -> None:
        """Makes the edit of a button, such as "up:1". That of a row that is gone does nothing."""
        word, place, beginning = [*button.split(":", 2), "", ""][:3]
        with suppress(IndexError, ValueError):
            numbers = [int(number) for number in place.split("-") if number]
            if word in {*_STEPS, "remove"}:
                _move(rules, word, numbers)
            elif word == "pick":
                rule, condition = numbers
                row = rules[rule]["conditions"][condition]
                row |= {"values": with_object(row.get("values", ""), beginning), "focus": "values"}
            elif word == "others":
                rules.append({"conditions": [], "focus": "input"})
            elif word in CONDITION_FORMS:
                row = {word: beginning, "focus": "input"}
                if numbers:
                    rules[numbers[0]]["conditions"].append(row)
                else:
                    rules.append({"conditions": [row]})
        if self.of_value:
            # The rule of a value for all others stays the last one.
            rules.sort(key=lambda rule: not rule["conditions"])


class RulesField(forms.Field):
    """The rules of a flag, a value or an experiment, or the conditions of a segment.

    Checks that rows are filled in. The action checks the rules.
    """

    widget: RulesWidget
    default_error_messages = {"required": say("write at least one condition").lazy}

    def __init__(
        self,
        offer: Offer,
        *,
        no_rules: str | Promise = "",
        of_segment: bool = False,
        of_value: bool = False,
        **options: Any,
    ) -> None:
        """Takes what a page says without rules."""
        widget = RulesWidget(offer, no_rules, of_segment=of_segment, of_value=of_value)
        super().__init__(widget=widget, **options)
        # A segment needs conditions; no rules are rules, too.
        self.empty_values = [[]] if of_segment else []

    def to_python(self, value: Any) -> Any:
        """Returns the JSON. Raises ValidationError if a row or the text has a problem."""
        if not isinstance(value, Editor):
            rules = _JSON.clean(value)
            return [] if rules is None else with_keys(rules, self.widget.offer.reader)
        if value.json is None:
            raise ValidationError(say("Correct what is marked below.").local, code="rows")
        return value.json


def _text_of(rules: object) -> str:
    """Returns the JSON of rules as people edit it."""
    return json.dumps(in_reading_order(rules), ensure_ascii=False, indent=2)


def _move(rules: list[Texts], word: str, numbers: Sequence[int]) -> None:
    """Moves or removes a rule, or removes a condition. Raises IndexError if a row is gone."""
    *outer, at = numbers
    rows: list[Texts] = rules[outer[0]]["conditions"] if outer else rules
    row = rows.pop(at)
    if word == "remove":
        row = rows[min(at, len(rows) - 1)]
    else:
        rows.insert(max(at + _STEPS[word], 0), row)
    row["focus"] = word


def _without_false(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leaves out `"negate": false`, which says nothing."""
    conditions = rule["conditions"]
    without_false = [
        {name: condition[name] for name in condition if name != "negate" or condition[name]}
        for condition in conditions
    ]
    return {**rule, "conditions": without_false}
