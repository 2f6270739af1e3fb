"""Validation of keys, rollouts, rules, and the conditions of segments."""

from __future__ import annotations

import json
import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flagstaff.exceptions import InvalidChangeError

# The other functions are internal.
__all__ = ["KEY_MAX_LENGTH", "validate_conditions", "validate_flag_key", "validate_rules"]

KEY_MAX_LENGTH = 255
MAX_PERCENT = 100


def validate_flag_key(key: str) -> None:
    """Raises ValidationError unless the key is valid.

    A key has 1 to 255 letters, digits, "_", "-" or ".", and does not begin with "-". With a ":",
    two pairs of key and user could have the same hash input; options of commands begin with "-".
    """
    if not key:
        raise ValidationError(
            _('the key is empty; use 1 to 255 characters, such as "new_checkout"'),
            code="empty",
        )
    if len(key) > KEY_MAX_LENGTH:
        raise ValidationError(
            _("the key has %(length)d characters; use at most 255"),
            code="too_long",
            params={"length": len(key)},
        )
    if key.startswith("-"):
        raise ValidationError(
            _(
                'the key begins with "-", as options of a command do; '
                'begin it with a letter or a digit, such as "new_checkout"'
            ),
            code="leading_hyphen",
        )
    for position, character in enumerate(key, start=1):
        if kind := _forbidden_kind(character):
            raise ValidationError(
                _(
                    "the key has %(kind)s at position %(position)d; "
                    'use letters, digits, "_", "-" or ".", such as "new_checkout"'
                ),
                code="forbidden_character",
                params={"kind": kind, "position": position},
            )


def is_valid_flag_key(key: str) -> bool:
    """Whether `validate_flag_key` accepts the key."""
    try:
        validate_flag_key(key)
    except ValidationError:
        return False
    return True


def validate_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a flag."""
    _refuse(rule_problem(rules), "invalid_rules")


def validate_conditions(conditions: object) -> None:
    """Raises ValidationError unless workers can read these conditions of a segment."""
    _refuse(condition_problem(conditions), "invalid_conditions")


def rule_problem(rules: object) -> str | None:
    """Returns why workers could not read these rules: their first problem, or None."""
    return _problem("check_rules", rules)


def condition_problem(conditions: object) -> str | None:
    """Returns why workers could not read these conditions of a segment, or None."""
    return _problem("check_conditions", conditions)


def _refuse(problem: str | None, code: str) -> None:
    if problem is not None:
        # The message is complete: a "%" in it is no placeholder.
        raise ValidationError(problem, code=code)


def _problem(check: str, value: object) -> str | None:
    """Asks the parser of the workers, which alone decides what they can read."""
    # Imported here, because the extension imports this package.
    from flagstaff import _core  # noqa: PLC0415

    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        return f"this is not JSON: {error}; write a JSON list"
    if parser := getattr(_core, check, None):
        found: str | None = parser(text)
        return found
    return _structural_problem(value, may_be_empty=check == "check_rules")


# TEMPORARY: until the extension has check_rules and check_conditions, which check everything.
def _structural_problem(value: object, *, may_be_empty: bool) -> str | None:
    if not isinstance(value, list):
        return "this is not a list; write a JSON list of objects"
    if not value and not may_be_empty:
        return "the list of conditions is empty; write at least one condition"
    if not all(isinstance(one, dict) for one in value):
        return "the list has something else than an object; write a JSON list of objects"
    return None


def is_percent(number: object) -> bool:
    """Whether `number` is an int from 0 to 100. A bool is not a percentage."""
    return type(number) is int and 0 <= number <= MAX_PERCENT


def require_percent(number: object) -> None:
    """Raises InvalidChangeError unless `number` is an int from 0 to 100."""
    if not is_percent(number):
        raise InvalidChangeError(
            f"the rollout percent must be a whole number from 0 to {MAX_PERCENT}, not {number!r}"
        )


def _forbidden_kind(character: str) -> str | None:
    if character.isalnum() or character in "_-.":
        return None
    if character == ":":
        return gettext('a ":"')
    if character.isspace():
        return gettext("white space")
    if unicodedata.category(character) == "Cc":
        return gettext("a control character")
    if not character.isprintable():
        return gettext("an invisible character")
    return gettext('the character "%(character)s"') % {"character": character}
