from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from flagstaff.validators import validate_flag_key

HINT = 'use letters, digits, "_", "-" or ".", such as "new_checkout"'
OPTION = (
    'the key begins with "-", as options of a command do; begin it with a letter or a digit, '
    'such as "new_checkout"'
)


@pytest.mark.parametrize(
    "key", ["a", "new_checkout", "new-checkout", "shop.cart", "été", "割引", ".a", "x" * 255]
)
def test_valid_key_is_accepted(key: str) -> None:
    validate_flag_key(key)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", 'the key is empty; use 1 to 255 characters, such as "new_checkout"'),
        ("x" * 256, "the key has 256 characters; use at most 255"),
        ("new checkout", f"the key has white space at position 4; {HINT}"),
        ("new\u00a0checkout", f"the key has white space at position 4; {HINT}"),
        ("new\n", f"the key has white space at position 4; {HINT}"),
        ("new:checkout", f'the key has a ":" at position 4; {HINT}'),
        ("\x00new", f"the key has a control character at position 1; {HINT}"),
        ("--help", OPTION),
        ("-rf", OPTION),
        ("-", OPTION),
        ("<b>x</b>", f'the key has the character "<" at position 1; {HINT}'),
        ("a/b?c#d", f'the key has the character "/" at position 2; {HINT}'),
        ("🚩flag", f'the key has the character "🚩" at position 1; {HINT}'),
        ("a\u200bb", f"the key has an invisible character at position 2; {HINT}"),
        ("new\x7f", f"the key has a control character at position 4; {HINT}"),
    ],
)
def test_invalid_key_is_rejected_with_the_reason(key: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        validate_flag_key(key)
    assert error.value.messages == [message]
