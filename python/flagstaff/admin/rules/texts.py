"""The values of a condition as the text of an input, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from django.utils.translation import gettext as _

# These operators have no other values than texts: 1.10 is a version, and no number.
_TEXT_OPERATORS = frozenset(
    ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
)
_PATTERN = "regex"


def _item(separators: str) -> re.Pattern[str]:
    """Matches a quoted value and what follows it, or a bare value, up to a separator."""
    quoted = r'("(?:[^"\\]|\\.)*")'
    other = f"([^{separators}]*)"
    return re.compile(rf"\s*(?:{quoted}{other}|{other})(?:[{separators}]|\Z)", re.DOTALL)


_ITEM, _LINE = _item(r",\r\n"), _item(r"\r\n")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
_CONTROL = re.compile(r"[\x00-\x1f]")
# The length of a value in a message.
_MAX_SHOWN = 40


class ValuesError(ValueError):
    """A text has no list of values. The message says what to correct."""


def values_text(values: Sequence[object], operator: str) -> str:
    """Returns the text of values: as short as possible, with quotes where they are needed."""
    separator = "\n" if operator == _PATTERN else ", "
    return separator.join(_value_text(value, operator) for value in values)


def parse_values(text: str, operator: str) -> list[object]:
    """Returns the values of a text. Raises ValuesError."""
    items = (_LINE if operator == _PATTERN else _ITEM).finditer(text)
    values = (_parsed(item, operator) for item in items)
    return [value for value in values if value is not None]


def _value_text(value: object, operator: str) -> str:
    is_plain = isinstance(value, str) and _is_plain(value, operator)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str, operator: str) -> bool:
    """Whether the text means itself without quotes."""
    if _CONTROL.search(value) or value.startswith('"') or value != value.strip() or not value:
        return False
    if operator != _PATTERN and "," in value:
        return False
    return operator in _TEXT_OPERATORS or isinstance(_typed(value), str)


def _parsed(item: re.Match[str], operator: str) -> object:
    """The value of an item; None for an empty one."""
    quoted, rest, bare = item.groups(default="")
    if quoted:
        value = _decoded(quoted)
        if rest.strip():
            text = _("there is text after %(value)s; separate values by commas")
            raise ValuesError(text % {"value": quoted[:_MAX_SHOWN]})
        return value
    bare = bare.strip()
    if bare.startswith('"'):
        raise ValuesError(_("a quotation mark is not closed; add one after the value"))
    return (bare if operator in _TEXT_OPERATORS else _typed(bare)) if bare else None


def _decoded(quoted: str) -> str:
    try:
        text: str = json.loads(quoted, strict=False)
        text.encode()  # Raises UnicodeEncodeError for half of a surrogate pair.
    except ValueError as error:
        message = _("%(value)s has an escape that is not a character; write \\\\ for one \\")
        raise ValuesError(message % {"value": quoted[:_MAX_SHOWN]}) from error
    return text


def _typed(bare: str) -> object:
    """A number or a bool if the text is one, else the text."""
    if bare in _BOOLS:
        return _BOOLS[bare]
    if not _NUMBER.fullmatch(bare):
        return bare
    try:
        number: object = json.loads(bare)
    except ValueError:  # Python decodes no integer of more than 4,300 digits.
        return bare
    return bare if isinstance(number, float) and math.isinf(number) else number
