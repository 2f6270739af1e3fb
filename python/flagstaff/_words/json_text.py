"""JSON that Python can decode, and JSON that it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import isfinite
from typing import Any

from flagstaff._core import json_problem
from flagstaff._words.text import Text, truncated

# A shorter text has neither too many digits nor too many levels.
_SHORT = 1_000
# The length of a name in a message.
_MAX_NAME = 80
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)


class UnreadableJson(str):
    """The text of JSON that PostgreSQL stores and Python cannot decode, in the place of a value."""

    __slots__ = ()

    @property
    def problem(self) -> Text:
        """What is wrong with it, such as "has a number of more than 4,300 digits"."""
        return why_undecodable(self) or Text("cannot be decoded")

    def __repr__(self) -> str:
        return f"UnreadableJson({super().__repr__()})"


class ExactNumber(float):
    """A number of the history. Its repr has all digits, so numbers can be compared by it."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> ExactNumber:  # noqa: PYI034 (Python 3.10 has no Self)
        """Takes the text of the database."""
        self = super().__new__(cls, text)
        self._text = text
        return self

    def __repr__(self) -> str:
        return self._text


class LongJson(str):  # noqa: SLOT000 (it has attributes)
    """The start of a long JSON text, in the place of a value. Equal if the whole texts are."""

    length: int
    digest: str

    def __new__(cls, start: str, length: int, digest: str) -> LongJson:  # noqa: PYI034 (Python 3.10 has no Self)
        """Takes the length and a digest of the whole text."""
        self = super().__new__(cls, start)
        self.length = length
        self.digest = digest
        return self

    def __repr__(self) -> str:
        return f"LongJson({self.length}, {self.digest})"


class DuplicateNameError(ValueError):
    """An object in a JSON text has a name twice. `json.loads` would drop all but the last one."""

    def __init__(self, name: str) -> None:
        #: The name in quotes, truncated.
        self.name = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
        super().__init__(f"an object has the name {self.name} twice")


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text that a person has written. Raises ValueError.

    DuplicateNameError, which is a ValueError, contains a part of the text.
    """
    if problem := why_undecodable(text):
        raise ValueError(f"it {problem}")
    return json.loads(text, object_pairs_hook=object_of_pairs)


def scalar_of(text: str) -> object:
    """Returns the JSON scalar that a text is, such as 5 or true, or else the text."""
    try:
        value = parse_json(text)
    except ValueError:
        return text
    # Python also reads NaN and Infinity, which are not JSON.
    is_scalar = not isinstance(value, list | dict | float) or (
        isinstance(value, float) and isfinite(value)
    )
    return value if is_scalar else text


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the object of these names and values. Raises DuplicateNameError."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise DuplicateNameError(name)
        members[name] = value
    return members


def read_json(text: str, parse_float: Callable[[str], float] = float) -> Any:
    """Returns the value of a JSON text of the database, or an UnreadableJson."""
    if len(text) > _SHORT and why_undecodable(text):
        return UnreadableJson(text)
    return json.loads(text, parse_float=parse_float)


def canonical_json(value: object, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON.

    Raises TypeError or ValueError if JSON cannot hold the value.
    """
    return sorted_json(json.dumps(value), allow_nan=allow_nan)


def sorted_json(text: str, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON, whatever the order of its keys.

    Raises ValueError for NaN and Infinity, unless they are allowed.
    """
    plain = json.loads(text, parse_float=_as_postgres_reads)
    return json.dumps(plain, sort_keys=True, allow_nan=allow_nan)


def _as_postgres_reads(text: str) -> int | float:
    """A number as PostgreSQL returns it: 1e16 as an integer, and zero without its sign."""
    number = float(text)
    if not number:
        return 0.0
    return int(Decimal(text)) if isfinite(number) and "e+" in repr(number) else number


def read_columns(text: str) -> Any:
    """Returns the value of a JSON text of the database, each member of an object on its own.

    So a row with an unreadable value keeps its other columns. Numbers with a point are ExactNumber.
    """
    if len(text) > _SHORT and why_undecodable(text) and text.startswith("{"):
        members = _members(text)
        return {json.loads(name): read_json(member, ExactNumber) for name, member in members}
    return read_json(text, ExactNumber)


def why_undecodable(text: str) -> Text | None:
    """Returns why Python cannot decode a JSON text, whatever its syntax; None if it can.

    `json.loads` raises RecursionError for deep nesting.
    """
    # Rust accepts no half of a surrogate pair.
    return json_problem(text.encode(errors="replace").decode())


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yields the names and values of an object, as text."""
    depth, start, name = 0, 1, ""
    for token in _TOKENS.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        is_end = token[0] == "}" and not depth
        if depth == 1 and token[0] == ":":
            name, start = text[start : token.start()], token.end()
        elif name and (is_end or (depth == 1 and token[0] == ",")):
            yield name.strip(), text[start : token.start()].strip()
            name, start = "", token.end()
