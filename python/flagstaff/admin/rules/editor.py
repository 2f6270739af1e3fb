"""The editor of rules as a form field: rows, buttons that change them, and JSON as text.

A page works without a script: each button posts the form, and the server answers with the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from flagstaff._words.json_text import is_same_json
from flagstaff._words.rule_json import rules_json
from flagstaff.actions.arguments import JsonField
from flagstaff.admin.rules.forms import (
    JSON_OPERATORS,
    ConditionForm,
    RuleForm,
    RuleValues,
    SegmentForm,
    Texts,
    own_text,
    texts_of_rule,
)
from flagstaff.admin.rules.offers import Offer
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem

#: The name of the buttons that change rows, or show what they would change, and save nothing.
EDIT = "_edit"
# The texts of a rule, then those of its conditions.
_Rule: TypeAlias = list[Texts]
_Condition: TypeAlias = ConditionForm | SegmentForm
# Value, text and label.
_Button: TypeAlias = tuple[str, str, str]

#: The rules and conditions of one page. Django accepts 1,000 fields of a form.
MAX_ROWS = 120
_RULE = ("name", "rollout_percent", "value")
_CONDITION = ("negate", "attribute", "operator", "values", "segment")
# The inputs that say something without a text.
_MENUS = ("negate", "operator")
_NO_RULES = gettext_lazy("No rules: the rollout decides.")
_STEPS = {"up": -1, "down": 1}
_JSON = JsonField(required=False)
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
    conditions: Sequence[_Condition]
    is_last: bool

    def buttons(self) -> list[_Button]:
        """The buttons of the rule."""
        return _buttons(self.form, is_first=self.form.place == "0", is_last=self.is_last)

    def rows(self) -> Iterator[tuple[_Condition, list[_Button]]]:
        """The conditions, each with its buttons."""
        last = len(self.conditions) - 1
        for number, form in enumerate(self.conditions):
            yield form, _buttons(form, is_first=number == 0, is_last=number == last)


class Editor:
    """The rows of a page."""

    def __init__(
        self,
        widget: RulesWidget,
        name: str,
        rules: Sequence[_Rule],
        *,
        is_edited: bool = False,
        focus: str = "",
    ) -> None:
        """Takes the texts of the rows, and the row or the button that gets the focus.

        Rows that are edited have no problems yet.
        """
        self._widget, self.focus, self.is_full = widget, focus, _is_full(rules)
        last = len(rules) - 1
        self.lines = [
            Line(
                RuleForm(
                    name, str(rule), _("Rule %(rule)s") % {"rule": rule + 1}, own, widget.values
                ),
                [self._condition(name, rule, *one) for one in enumerate(conditions)],
                rule == last,
            )
            for rule, (own, *conditions) in enumerate(rules)
        ]
        found = self._checked()
        for form in chain.from_iterable((one.form, *one.conditions) for one in self.lines):
            if is_edited:
                form.errors.clear()
            if form.place == focus:
                form.focus()
        if is_edited:
            found = Editor(widget, name, _without_blank(rules)).rules
        #: None if a row has a problem.
        self.rules: list[dict[str, Any]] | None = found

    @property
    def json(self) -> list[dict[str, Any]] | None:
        """The rules, or the conditions of the segment; None if a row has a problem."""
        if self._widget.of_segment and self.rules:
            conditions: list[dict[str, Any]] = self.rules[0]["conditions"]
            return conditions
        return self.rules

    def _condition(self, name: str, rule: int, number: int, texts: Texts) -> _Condition:
        of_rule = _("Rule %(rule)s, condition %(condition)s")
        label = _("Condition %(condition)s") if self._widget.of_segment else of_rule
        label %= {"rule": rule + 1, "condition": number + 1}
        form = SegmentForm if "segment" in texts else ConditionForm
        return form(name, f"{rule}-{number}", label, texts, self._widget.offer)

    def _checked(self) -> list[dict[str, Any]] | None:
        found, is_valid = [], True
        for rule, conditions, _is_last in self.lines:
            # Each row shows its problem.
            valid = [one.is_valid() for one in (rule, *conditions)]
            if not all(valid):
                is_valid = False
                continue
            of_rule = [one.cleaned_data for one in conditions]
            found.append({**rule.cleaned_data, "conditions": of_rule})
            if problem := self._widget.problem_of(found[-1:]):
                rule.add_error(None, own_text(problem))
                is_valid = False
        return found if is_valid else None


class _Refused(str):
    """A JSON text that was to be edited as rows, which cannot show it."""

    __slots__ = ()


class RulesWidget(forms.Textarea):
    """Rows of rules, or of the conditions of a segment; a text area for JSON without rows."""

    template_name = "flagstaff/rules.html"

    def __init__(
        self, offer: Offer, values: RuleValues | None, no_rules: str | Promise, *, of_segment: bool
    ) -> None:
        super().__init__({"class": "vLargeTextField flagstaff-json", "rows": 12})
        self.offer, self.values, self.no_rules = offer, values, no_rules
        self.of_segment = of_segment

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. What rows cannot show is JSON."""
        editor = value if isinstance(value, Editor) else self._rows_of(name, value)
        text = "" if editor else value if isinstance(value, str) else rules_json(value)
        example = {**_EXAMPLE, **({"value": 50} if self.values else {})}
        return {
            **super().get_context(name, text, attrs),
            "editor": editor,
            "edit": EDIT,
            "is_refused": isinstance(value, _Refused),
            "offer": self.offer,
            "beginnings": self._beginnings(),
            "no_rules": self.no_rules,
            "of_segment": self.of_segment,
            "example": rules_json(example["conditions"] if self.of_segment else [example]),
            "operators": JSON_OPERATORS,
        }

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> Any:
        """The rows of a submitted form, changed by a button, or the text of its text area."""
        button = data.get(EDIT, "")
        if f"{name}-rows" not in data:
            text = data.get(name)
            return self._rows_of_text(name, text) if text and button == "rows" else text
        rules = self._posted(data, name)
        if not button or button == "json":
            editor = Editor(self, name, _without_blank(rules))
            # With a problem, the rows stay.
            return rules_json(editor.json) if button and editor.json is not None else editor
        focus = self._edit(rules, button)
        return Editor(self, name, rules, is_edited=True, focus=focus)

    def problem_of(self, rules: Any) -> Any:
        """Returns why workers cannot read rules; None if they can."""
        if self.of_segment:
            # The field itself says that there are none.
            conditions = rules[0]["conditions"]
            return None if conditions == [] else condition_problem(conditions)
        return rule_problem(rules) if self.values is None else value_rule_problem(rules)

    def _beginnings(self) -> Iterator[_Button]:
        """The buttons that add a rule, by what it begins with."""
        offer = self.offer
        words = {
            "attribute": _("an attribute"),
            "segment": _("a segment"),
            f"attribute::{offer.groups}": offer.groups and pgettext("of a rule", "a group"),
            f"attribute::{offer.users}": offer.users and pgettext("of a rule", "single users"),
            "others": self.values and _("all others"),
        }
        for button, text in words.items():
            if text:
                yield button, str(text), _("Add rule: %(beginning)s") % {"beginning": text}

    def _rows_of(self, name: str, stored: Any) -> Editor | None:
        """The rows of stored rules; None for a text, and for what rows cannot show."""
        if stored is None or stored == []:
            return Editor(self, name, [[{}, {}]] if self.of_segment else [], is_edited=True)
        rules = [{"conditions": stored}] if self.of_segment else stored
        if isinstance(stored, str) or self.problem_of(rules):
            return None
        texts = [texts_of_rule(rule, self.values) for rule in rules]
        editor = Editor(self, name, texts, is_edited=True)
        is_same = is_same_json(editor.rules, [*map(_without_false, rules)])
        return editor if is_same and sum(map(len, texts)) <= MAX_ROWS else None

    def _rows_of_text(self, name: str, text: str) -> Editor | str:
        try:
            return self._rows_of(name, _JSON.clean(text)) or _Refused(text)
        except ValidationError:
            return _Refused(text)

    def _posted(self, data: Mapping[str, str], name: str) -> list[_Rule]:
        def texts(place: str, inputs: Sequence[str]) -> Texts:
            found = {one: data.get(f"{name}-{place}-{one}") for one in inputs}
            return {one: text for one, text in found.items() if text is not None}

        rules: list[_Rule] = []
        while (own := texts(f"{len(rules)}", _RULE)) or (self.of_segment and not rules):
            rule = [own]
            while condition := texts(f"{len(rules)}-{len(rule) - 1}", _CONDITION):
                rule.append(condition)
            rules.append(rule)
        return rules

    def _edit(self, rules: list[_Rule], button: str) -> str:
        """Makes the edit of a button, such as "up:0-1". Returns what gets the focus.

        A button of a row that is not there changes nothing.
        """
        word, place, beginning = [*button.split(":", 2), "", ""][:3]
        numbers = [int(one) for one in place.split("-") if one.isdecimal()]
        try:
            if word in {"attribute", "segment", "others"}:
                return self._add(rules, word, numbers, beginning)
            if word in {*_STEPS, "remove"}:
                return self._move(rules, word, numbers)
        except IndexError:
            pass
        return ""

    def _add(self, rules: list[_Rule], word: str, numbers: Sequence[int], beginning: str) -> str:
        if _is_full(rules):
            return ""
        condition = {"segment": ""} if word == "segment" else {"attribute": beginning}
        if numbers:
            rule = rules[numbers[0]]
            rule.append(condition)
            return f"{numbers[0]}-{len(rule) - 2}"
        if word == "others":
            rules.append([{}])
            return f"{len(rules) - 1}"
        # The rule of a value for all others stays the last one.
        has_others = self.values is not None and rules and len(rules[-1]) == 1
        at = len(rules) - bool(has_others)
        rules.insert(at, [{}, condition])
        return f"{at}-0"

    def _move(self, rules: list[_Rule], word: str, numbers: Sequence[int]) -> str:
        rows: list[Any] = rules
        first, at = 0, numbers[0]
        if len(numbers) > 1:
            # Before its conditions, a rule has its own texts.
            rows, first, at = rules[at], 1, numbers[1] + 1
        row = rows.pop(at)
        if word in _STEPS:
            at = min(max(at + _STEPS[word], first), len(rows))
            rows.insert(at, row)
        if self.values:
            rules.sort(key=lambda rule: len(rule) == 1)
        # The first row has no button up, and the last one none down.
        at = min(at, len(rows) - 1)
        if word in _STEPS and at in {first, len(rows) - 1}:
            word = "down" if at == first else "up"
        place = f"{at}" if rows is rules else f"{numbers[0]}-{at - 1}"
        return f"{word}:{place}"


class RulesField(JsonField):
    """The rules of a flag, a value or an experiment, or the conditions of a segment."""

    default_error_messages = {"required": gettext_lazy("write at least one condition")}

    def __init__(
        self,
        offer: Offer,
        *,
        of_segment: bool = False,
        values: RuleValues | None = None,
        no_rules: str | Promise = _NO_RULES,
        **options: Any,
    ) -> None:
        """Takes what rules of a value can give, and what a page says without rules."""
        widget = RulesWidget(offer, values, no_rules, of_segment=of_segment)
        super().__init__(widget=widget, empty_value=[], **options)
        # A segment needs conditions; no rules are rules, too.
        self.empty_values = [[]] if of_segment else []

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """None beside those of the widget itself."""
        return {}

    def prepare_value(self, value: object) -> Any:
        """What the widget shows: JSON, or what was typed."""
        return value

    def bound_data(self, data: object, initial: object) -> Any:
        """What was typed."""
        return data

    def to_python(self, value: Any) -> Any:
        """Returns the JSON. Raises ValidationError if a row or the text has a problem."""
        if not isinstance(value, Editor):
            rules = super().to_python(value)
            return [] if rules is None else rules
        if value.json is None:
            raise ValidationError(_("Correct what is marked below."), code="rows")
        return value.json


def _buttons(form: RuleForm | _Condition, *, is_first: bool, is_last: bool) -> list[_Button]:
    found = (
        ("up", "↑", _("Move up"), is_first),
        ("down", "↓", _("Move down"), is_last),
        ("remove", "✕", _("Remove"), False),
    )
    return [
        (f"{word}:{form.place}", sign, f"{form.label}: {label}")
        for word, sign, label, has_no_use in found
        if not has_no_use
    ]


def _is_full(rules: Sequence[_Rule]) -> bool:
    """Whether the form may not get another rule with a condition."""
    return sum(map(len, rules)) > MAX_ROWS - 2


def _is_blank(texts: Texts) -> bool:
    return not any(text.strip() for name, text in texts.items() if name not in _MENUS)


def _without_blank(rules: Sequence[_Rule]) -> list[_Rule]:
    """Leaves out rows in which nothing was typed. A rule with a name keeps one condition."""
    kept = []
    for own, *conditions in rules:
        filled = [one for one in conditions if not _is_blank(one)]
        if filled or not _is_blank(own):
            kept.append([own, *(filled or conditions[:1])])
    return kept


def _without_false(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leaves out `"negate": false`, which says nothing."""
    conditions = rule["conditions"]
    kept = [{name: one[name] for name in one if one[name] is not False} for one in conditions]
    return {**rule, "conditions": kept}
