"""The values of a condition as one text, and back. Every list of valid values survives both ways.

Values are separated by commas or new lines, patterns by new lines only. A value in double quotes is
a JSON text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _

# These operators have no other values than texts: 1.10 is a version, and no number.
_TEXT_OPERATORS = frozenset(
    ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
)
_PATTERN = "regex"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
# A quoted value with its escapes, and what stands before the next separator.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
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
    return [*_values(text, operator)]


def _value_text(value: object, operator: str) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return value if _is_plain(value, operator) else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str, operator: str) -> bool:
    """Whether the text means itself without quotes."""
    if _CONTROL.search(value) or value.startswith('"') or value != value.strip() or not value:
        return False
    if operator != _PATTERN and "," in value:
        return False
    return operator in _TEXT_OPERATORS or isinstance(_typed(value), str)


def _values(text: str, operator: str) -> Iterator[object]:
    end = re.compile(r"[\r\n]" if operator == _PATTERN else r"[,\r\n]")
    position = 0
    while position < len(text):
        start = position + len(text[position:]) - len(text[position:].lstrip())
        if text.startswith('"', start):
            quoted = _QUOTED.match(text, start)
            if quoted is None:
                raise ValuesError(_("a quotation mark is not closed; add one after the value"))
            yield _decoded(quoted[0])
            separator = end.search(text, quoted.end())
            position = separator.end() if separator else len(text)
            if text[quoted.end() : separator.start() if separator else len(text)].strip():
                raise ValuesError(
                    _("there is text after %(value)s; separate values by commas")
                    % {"value": quoted[0][:_MAX_SHOWN]}
                )
            continue
        separator = end.search(text, position)
        bare = text[position : separator.start() if separator else len(text)].strip()
        position = separator.end() if separator else len(text)
        if bare:
            yield bare if operator in _TEXT_OPERATORS else _typed(bare)


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
