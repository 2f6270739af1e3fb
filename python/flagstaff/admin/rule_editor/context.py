"""The context of an editor's template: rules and conditions with names, labels and problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.rule_editor.edits import EDIT, Place, PostedRows, is_full, marker_of
from flagstaff.admin.rule_editor.problems import PARTS, problems_of
from flagstaff.admin.rule_editor.rows import MAX_ROWS, OPERATORS, ConditionRow, RuleRow

# The tokens of a new row, which a script replaces.
_NEW_RULE = "__rule__"
_NEW_CONDITION = "__condition__"


@dataclass(frozen=True)
class Editor:
    """What the rows of one editor share."""

    #: The name and the id of the form field.
    name: str
    id: str
    of_segment: bool = False
    attributes: list[str] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)


def editor_context(editor: Editor, posted: PostedRows, *, has_problems: bool) -> dict[str, Any]:
    """Returns the context for these rows, with their problems if the form was submitted."""
    known = None if editor.of_segment else editor.segments
    row_problems = problems_of(posted.rules, known) if has_problems else ()
    problems = {(problem.place, problem.part): problem.text for problem in row_problems}
    new_rule = RuleRow(conditions=(ConditionRow(),))
    return {
        "name": editor.name,
        "id": editor.id,
        "of_segment": editor.of_segment,
        "marker": marker_of(editor.name),
        "edit": EDIT,
        "attributes": editor.attributes,
        "is_full": is_full(posted.rules),
        "most": MAX_ROWS,
        "rules": [
            _rule(editor, str(index), index, rule, problems, posted.focus)
            for index, rule in enumerate(posted.rules)
        ],
        "new_rule": _rule(editor, _NEW_RULE, 0, new_rule, {}, None, _NEW_CONDITION),
        "new_conditions": {
            "condition": _new_condition(editor, ConditionRow()),
            "segment": _new_condition(editor, ConditionRow(segment="")),
        },
    }


_Problems = Mapping[tuple[Place, str], str]


def _rule(  # noqa: PLR0913, PLR0917 (one call for each row)
    editor: Editor,
    token: str,
    index: int,
    rule: RuleRow,
    problems: _Problems,
    focus: Place | None,
    condition_token: str | None = None,
) -> dict[str, Any]:
    place: Place = (index, None)
    return {
        "token": token,
        "prefix": f"{editor.name}-{token}",
        "number": index + 1,
        "labels": rule_labels(index + 1),
        "row": rule,
        "has_focus": focus == place,
        "problems": _of_row(editor, token, place, problems),
        "conditions": [
            _condition(
                editor,
                f"{token}-{condition_token or number}",
                (index, number),
                condition,
                problems,
                focus,
            )
            for number, condition in enumerate(rule.conditions)
        ],
    }


def _condition(  # noqa: PLR0913, PLR0917 (one call for each row)
    editor: Editor,
    token: str,
    place: tuple[int, int],
    row: ConditionRow,
    problems: _Problems,
    focus: Place | None,
) -> dict[str, Any]:
    rule, number = place
    return {
        "token": token,
        "prefix": f"{editor.name}-{token}",
        "labels": condition_labels(rule + 1, number + 1, of_segment=editor.of_segment),
        "row": row,
        "has_focus": focus == place,
        "problems": _of_row(editor, token, place, problems),
        "operators": _operators(row.operator),
        "segments": None if row.segment is None else _segments(editor, row.segment),
    }


def _new_condition(editor: Editor, row: ConditionRow) -> dict[str, Any]:
    return _condition(editor, f"{_NEW_RULE}-{_NEW_CONDITION}", (0, 0), row, {}, None)


def _of_row(
    editor: Editor, token: str, place: Place, problems: _Problems
) -> dict[str, Label | None]:
    """The problem of each input of a row or None, with the id of its text."""
    texts = {part: problems.get((place, part)) for part in PARTS}
    return {
        # Every name is a key: without "values", a template would find the method of the dict.
        part: None if text is None else Label(text, f"{editor.id}-{token}-{part}-problem")
        for part, text in texts.items()
    }


def _operators(chosen: str) -> list[tuple[str, str, bool]]:
    """Value, text and choice of each operator. An unknown one stays."""
    operators = {name: str(text) for name, text in OPERATORS.items()}
    operators.setdefault(chosen, chosen)
    return [(name, text, name == chosen) for name, text in operators.items()]


def _segments(editor: Editor, chosen: str) -> list[tuple[str, str, bool]]:
    segments = {"": _("choose a segment"), **{key: key for key in editor.segments}}
    if chosen not in segments:
        segments[chosen] = _("%(segment)s (does not exist)") % {"segment": chosen}
    return [(key, text, key == chosen) for key, text in segments.items()]


class Label(NamedTuple):
    """A label, and its pattern with "{rule}" and "{condition}"."""

    text: str
    pattern: str


_RULE: Mapping[str, str | Promise] = {
    "row": gettext_lazy("Rule {rule}"),
    "name": gettext_lazy("Rule {rule}: name"),
    "percent": gettext_lazy("Rule {rule}: rollout in percent"),
    "up": gettext_lazy("Move rule {rule} up"),
    "down": gettext_lazy("Move rule {rule} down"),
    "remove": gettext_lazy("Remove rule {rule}"),
    "add_condition": gettext_lazy("Add condition to rule {rule}"),
    "add_segment": gettext_lazy("Add segment to rule {rule}"),
}
_CONDITION: Mapping[str, str | Promise] = {
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
_OF_SEGMENT: Mapping[str, str | Promise] = {
    "row": gettext_lazy("Condition {condition}"),
    "negate": gettext_lazy("Condition {condition}: not"),
    "attribute": gettext_lazy("Condition {condition}: attribute"),
    "operator": gettext_lazy("Condition {condition}: operator"),
    "values": gettext_lazy("Condition {condition}: values"),
    "up": gettext_lazy("Move condition {condition} up"),
    "down": gettext_lazy("Move condition {condition} down"),
    "remove": gettext_lazy("Remove condition {condition}"),
}


def rule_labels(number: int) -> dict[str, Label]:
    """Returns the labels of a rule."""
    return _labels(_RULE, number, 0)


def condition_labels(rule: int, number: int, *, of_segment: bool) -> dict[str, Label]:
    """Returns the labels of a condition, of a rule or of a segment."""
    return _labels(_OF_SEGMENT if of_segment else _CONDITION, rule, number)


def _labels(patterns: Mapping[str, str | Promise], rule: int, condition: int) -> dict[str, Label]:
    texts = {name: str(pattern) for name, pattern in patterns.items()}
    return {
        name: Label(text.format(rule=rule, condition=condition), text)
        for name, text in texts.items()
    }
