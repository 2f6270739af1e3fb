"""The context of an editor's template: its rows with labels, problems, marks and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from django.forms.utils import flatatt
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from flagstaff._tables.known_attributes import GROUPS, Attribute, AttributeType
from flagstaff._words.text import quoted
from flagstaff.admin.rule_editor.edits import (
    ADD_RULE,
    ADD_VALUE,
    OF_ATTRIBUTE,
    OF_OTHERS,
    OF_SEGMENT,
    Place,
    PostedRows,
    is_full,
    marker_of,
)
from flagstaff.admin.rule_editor.marks import TYPES, Mark, mark_of
from flagstaff.admin.rule_editor.problems import PARTS, problems_of
from flagstaff.admin.rule_editor.rows import (
    IS_MISSING,
    IS_PRESENT,
    MAX_ROWS,
    OPERATORS,
    ConditionRow,
    RuleRow,
    condition_of_row,
    values_text,
)
from flagstaff.admin.rule_editor.rule_values import ValueRow

# Labels with "{rule}" and "{condition}", by what they label. A script numbers the rows again.
_Patterns: TypeAlias = Mapping[str, "str | Promise"]
# Value and text of each option, and whether it is chosen.
_Options: TypeAlias = list[tuple[str, str, bool]]

# The tokens of a new row, which a script replaces.
_NEW_RULE = "__rule__"
_NEW_CONDITION = "__condition__"
_ANY_ROW = "__row__"
# The only operators that are of use for a bool.
_OF_BOOLS = ("in", IS_MISSING, IS_PRESENT)

_RULE: _Patterns = {
    "row": gettext_lazy("Rule {rule}"),
    "name": gettext_lazy("Rule {rule}: name"),
    "percent": gettext_lazy("Rule {rule}: rollout in percent"),
    "value": gettext_lazy("Rule {rule}: value"),
    "up": gettext_lazy("Move rule {rule} up"),
    "down": gettext_lazy("Move rule {rule} down"),
    "remove": gettext_lazy("Remove rule {rule}"),
    "add_condition": gettext_lazy("Add condition to rule {rule}"),
    "add_segment": gettext_lazy("Add segment to rule {rule}"),
}
_CONDITION: _Patterns = {
    "row": gettext_lazy("Rule {rule}, condition {condition}"),
    "negate": gettext_lazy("Rule {rule}, condition {condition}: not"),
    "attribute": gettext_lazy("Rule {rule}, condition {condition}: attribute"),
    "operator": gettext_lazy("Rule {rule}, condition {condition}: operator"),
    "values": gettext_lazy("Rule {rule}, condition {condition}: values"),
    "segment": gettext_lazy("Rule {rule}, condition {condition}: segment"),
    "up": gettext_lazy("Move condition {condition} of rule {rule} up"),
    "down": gettext_lazy("Move condition {condition} of rule {rule} down"),
    "remove": gettext_lazy("Remove condition {condition} of rule {rule}"),
}
_OF_SEGMENT: _Patterns = {
    "row": gettext_lazy("Condition {condition}"),
    "negate": gettext_lazy("Condition {condition}: not"),
    "attribute": gettext_lazy("Condition {condition}: attribute"),
    "operator": gettext_lazy("Condition {condition}: operator"),
    "values": gettext_lazy("Condition {condition}: values"),
    "up": gettext_lazy("Move condition {condition} up"),
    "down": gettext_lazy("Move condition {condition} down"),
    "remove": gettext_lazy("Remove condition {condition}"),
}


@dataclass(frozen=True)
class Offer:
    """What an editor knows about the project and its page."""

    attributes: Mapping[str, Attribute]
    #: Values that users have, by attribute.
    samples: Mapping[str, list[object]]
    #: The keys of all segments; none in the editor of a segment.
    segments: Sequence[str]
    #: Whether rules can read groups.
    has_groups: bool
    #: The URL that returns the marks of the rows while they are edited; empty without one.
    marks_url: str

    @property
    def user_attribute(self) -> str | None:
        """The attribute that is the primary key of users; None without one."""
        named = self.attributes.items()
        return next((name for name, one in named if one.field and one.field.primary_key), None)


@dataclass(frozen=True)
class Editor:
    """The rows of a form field, with the name and the id of the field."""

    name: str
    id: str
    offer: Offer
    posted: PostedRows

    def context(self) -> dict[str, Any]:
        """Returns the context. Submitted rows have their problems."""
        offer, rules, values = self.offer, self.posted.rules, self.posted.values
        new = replace(self, posted=replace(self.posted, rules=[], is_edit=True, focus=None))
        new_value = None if values is None else values.new_row()
        new_token = f"{_NEW_RULE}-{_NEW_CONDITION}"
        condition = new.condition(new_token, (0, 0), ConditionRow())
        segment = new.condition(new_token, (0, 0), ConditionRow(segment=""))
        return {
            "id": self.id,
            "of_segment": self.posted.of_segment,
            "of_value": values is not None,
            "is_masked": values is not None and bool(values.masked),
            "marker": marker_of(self.name),
            "marks_url": offer.marks_url,
            "attributes": [
                (name, _typed(name, one.type), one.type is AttributeType.BOOL)
                for name, one in offer.attributes.items()
            ],
            "offers": _offers(offer, of_value=values is not None),
            "names_users": offer.user_attribute is not None,
            "bools": _bools(ConditionRow()),
            "samples_by_attribute": [
                (name, self._samples(_ANY_ROW, name)) for name in offer.samples
            ],
            "is_full": is_full(rules),
            "most": MAX_ROWS,
            "rules": [self.rule(str(index), index, rule) for index, rule in enumerate(rules)],
            "new_rule": new.rule(_NEW_RULE, 0, RuleRow(value=new_value))
            | {"conditions": [condition]},
            "new_conditions": {"condition": condition, "segment": segment},
        }

    @cached_property
    def _problems(self) -> Mapping[tuple[Place, str], str]:
        if self.posted.is_edit:
            return {}
        return problems_of(self.posted, None if self.posted.of_segment else self.offer.segments)

    def rule(self, token: str, index: int, rule: RuleRow) -> dict[str, Any]:
        """Returns the context of a rule."""
        focused = "value" if rule.is_for_others else "name"
        return {
            **self._row(token, (index, None), _RULE, focused),
            "row": rule,
            "value": rule.value and self._value(rule.value),
            "title": str(_RULE["row"]).format(rule=index + 1),
            "conditions": [
                self.condition(f"{token}-{number}", (index, number), condition)
                for number, condition in enumerate(rule.conditions)
            ],
        }

    def _value(self, row: ValueRow) -> dict[str, Any]:
        """The input of the value that a rule gives."""
        values = self.posted.values
        chosen = values.input_of(row) if values else "json"
        options = {"": _("choose"), **{text: text for text in (values.options if values else ())}}
        return {
            "row": row,
            "input": chosen,
            "options": _options(options, row.text, row.text) if chosen == "select" else None,
            "step": "1" if values and values.schema.type == "integer" else "any",
        }

    def condition(self, token: str, place: Place, row: ConditionRow) -> dict[str, Any]:
        """Returns the context of a condition."""
        patterns = _OF_SEGMENT if self.posted.of_segment else _CONDITION
        typed = "values" if row.attribute else "attribute"
        focused = typed if row.segment is None else "segment"
        attribute = self.offer.attributes.get(row.attribute)
        is_bool = attribute is not None and attribute.type is AttributeType.BOOL
        mark = mark_of(condition_of_row(row), self.offer.attributes)
        common = self._row(token, place, patterns, focused, mark)
        return {
            **common,
            "row": row,
            # One text for each row: a problem comes first.
            "mark": None if common["problems"] else mark,
            "bools": _bools(row) if is_bool and row.operator in _OF_BOOLS else None,
            "samples": self._samples(token, row.attribute) if row.operator == "in" else [],
            "operators": _options(OPERATORS, row.operator, row.operator),
            "segments": None if row.segment is None else self._segments(row.segment),
        }

    def _row(
        self, token: str, place: Place, patterns: _Patterns, focused: str, mark: Mark | None = None
    ) -> dict[str, Any]:
        """What rules and conditions have in common: `attrs` are the attributes of its elements."""
        row_id = f"{self.id}-{token}"
        problems = {
            part: {"text": text, "id": f"{row_id}-{part}-problem"}
            for part in PARTS
            if (text := self._problems.get((place, part)))
        }
        invalid = {*problems, *([mark.part] if mark and mark.is_error else [])}
        described = dict.fromkeys(("attribute", "values"), f"{row_id}-mark")
        described |= {part: problem["id"] for part, problem in problems.items()}
        numbers = {"rule": place[0] + 1, "condition": (place[1] or 0) + 1}
        attrs = {
            part: flatatt(
                {
                    "aria-label": str(pattern).format(**numbers),
                    "data-flagstaff-label": str(pattern),
                    "aria-invalid": "true" if part in invalid else None,
                    "aria-describedby": described.get(part),
                    "autofocus": part == focused and place == self.posted.focus,
                }
            )
            for part, pattern in patterns.items()
        }
        names = {"token": token, "prefix": f"{self.name}-{token}", "id": row_id}
        return {**names, "problems": problems, "attrs": attrs}

    def _samples(self, token: str, attribute: str) -> list[tuple[str, str]]:
        """The text of each sample value, and its button."""
        texts = [values_text([value], "in") for value in self.offer.samples.get(attribute, [])]
        return [(text, f"{ADD_VALUE}:{token}:{text}") for text in texts]

    def _segments(self, chosen: str) -> _Options:
        segments = {"": _("choose a segment"), **{key: key for key in self.offer.segments}}
        return _options(segments, chosen, _("%(segment)s (does not exist)") % {"segment": chosen})


def _typed(name: str, kind: AttributeType) -> str:
    """The label of an attribute. Some browsers show it in place of the name."""
    if kind is AttributeType.OTHER:
        return ""
    return _("%(name)s: %(type)s") % {"name": name, "type": TYPES[kind]}


def _bools(row: ConditionRow) -> _Options:
    texts = {"": _("choose"), "true": _("yes"), "false": _("no")}
    chosen = row.values.strip()
    return _options(texts, chosen, quoted(chosen))


def _options(texts: _Patterns, chosen: str, unknown: str) -> _Options:
    """The options of these values and texts. An unknown value stays, to be corrected."""
    known = texts if chosen in texts else {**texts, chosen: unknown}
    return [(value, str(text), value == chosen) for value, text in known.items()]


def _offers(offer: Offer, *, of_value: bool) -> list[tuple[str, str, str]]:
    """Button, text and label of each beginning of a rule."""
    texts = {ADD_RULE: _("attribute"), f"{ADD_RULE}:{OF_SEGMENT}": _("segment")}
    if offer.has_groups:
        texts[f"{ADD_RULE}:{OF_ATTRIBUTE}{GROUPS}"] = pgettext("of a rule", "group")
    if offer.user_attribute is not None:
        texts[f"{ADD_RULE}:{OF_ATTRIBUTE}{offer.user_attribute}"] = pgettext("of a rule", "users")
    if of_value:
        texts[f"{ADD_RULE}:{OF_OTHERS}"] = _("all others")
    label = _("Add rule: %(beginning)s")
    return [(button, text, label % {"beginning": text}) for button, text in texts.items()]
