"""The labels of an editor's inputs and buttons, with the numbers of their rows.

A script that adds or moves rows fills the pattern with the new numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Label(NamedTuple):
    """A label, and its pattern with "{rule}" and "{condition}"."""

    text: str
    pattern: str


_RULE: Mapping[str, str | Promise] = {
    "row": _("Rule {rule}"),
    "name": _("Rule {rule}: name"),
    "percent": _("Rule {rule}: rollout in percent"),
    "up": _("Move rule {rule} up"),
    "down": _("Move rule {rule} down"),
    "remove": _("Remove rule {rule}"),
    "add_condition": _("Add condition to rule {rule}"),
    "add_segment": _("Add segment to rule {rule}"),
}
_CONDITION: Mapping[str, str | Promise] = {
    "row": _("Rule {rule}, condition {condition}"),
    "negate": _("Rule {rule}, condition {condition}: not"),
    "attribute": _("Rule {rule}, condition {condition}: attribute"),
    "operator": _("Rule {rule}, condition {condition}: operator"),
    "values": _("Rule {rule}, condition {condition}: values"),
    "segment": _("Rule {rule}, condition {condition}: segment"),
    "up": _("Move condition {condition} of rule {rule} up"),
    "down": _("Move condition {condition} of rule {rule} down"),
    "remove": _("Remove condition {condition} of rule {rule}"),
}
_OF_SEGMENT: Mapping[str, str | Promise] = {
    "row": _("Condition {condition}"),
    "negate": _("Condition {condition}: not"),
    "attribute": _("Condition {condition}: attribute"),
    "operator": _("Condition {condition}: operator"),
    "values": _("Condition {condition}: values"),
    "up": _("Move condition {condition} up"),
    "down": _("Move condition {condition} down"),
    "remove": _("Remove condition {condition}"),
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
