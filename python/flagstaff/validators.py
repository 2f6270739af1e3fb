"""What may be the key of a flag."""

from __future__ import annotations

import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

__all__ = ["KEY_MAX_LENGTH", "validate_flag_key"]

KEY_MAX_LENGTH = 255


def validate_flag_key(key: str) -> None:
    """Accept 1 to 255 characters without white space, control characters or ":".

    Every Django slug is a key. A ":" would let two pairs of key and user hash alike.
    """
    if not key:
        raise ValidationError(
            _('a key is empty; write 1 to 255 characters, such as "new_checkout"'),
            code="empty",
        )
    if len(key) > KEY_MAX_LENGTH:
        raise ValidationError(
            _("a key has %(length)d characters; write at most 255"),
            code="too_long",
            params={"length": len(key)},
        )
    for position, character in enumerate(key, start=1):
        if kind := _forbidden(character):
            raise ValidationError(
                _(
                    "a key has %(kind)s at position %(position)d; "
                    'write letters, digits, "_", "-" or ".", such as "new_checkout"'
                ),
                code="forbidden_character",
                params={"kind": kind, "position": position},
            )


def _forbidden(character: str) -> str | None:
    if character == ":":
        return gettext('a ":"')
    if character.isspace():
        return gettext("white space")
    if unicodedata.category(character) == "Cc":
        return gettext("a control character")
    return None
