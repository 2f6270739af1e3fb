"""Validation of the key and the rollout of a flag."""

from __future__ import annotations

import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flagstaff.exceptions import InvalidChangeError

# The other functions are internal.
__all__ = ["KEY_MAX_LENGTH", "validate_flag_key"]

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
