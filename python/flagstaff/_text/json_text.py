"""JSON that people write, and JSON of the database."""

from __future__ import annotations

import json
from decimal import Decimal
from math import isfinite
from typing import Any

from flagstaff._core import json_problem
from flagstaff._text import Sentence, truncated

# The length of a name in a message.
_MAX_NAME = 80


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


class ExactDecoder(json.JSONDecoder):
    """Reads numbers with a point as ExactNumber."""

    def __init__(self, **options: Any) -> None:
        super().__init__(parse_float=ExactNumber, **options)


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


def read_exactly(text: str) -> Any:
    """Returns the value of a JSON text of the history. Numbers with a point are ExactNumber."""
    return json.loads(text, cls=ExactDecoder)


def canonical_json(value: object, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON, whatever the order of its keys.

    Raises TypeError or ValueError if JSON cannot hold the value, or NaN and Infinity unless they
    are allowed.
    """
    plain = json.loads(json.dumps(value), parse_float=_as_postgres_reads)
    return json.dumps(plain, sort_keys=True, allow_nan=allow_nan)


def is_same_json(left: object, right: object) -> bool:
    """Whether both are the same JSON: in Python, True equals 1 and 1 equals 1.0.

    False if JSON cannot hold one of them.
    """
    try:
        return canonical_json(left) == canonical_json(right)
    except (TypeError, ValueError, RecursionError):
        return False


def _as_postgres_reads(text: str) -> int | float:
    """A number as PostgreSQL returns it: 1e16 as an integer, and zero without its sign."""
    number = float(text)
    if not number:
        return 0.0
    return int(Decimal(text)) if isfinite(number) and "e+" in repr(number) else number


def why_undecodable(text: str) -> Sentence | None:
    """Returns why Python cannot decode a JSON text, whatever its syntax; None if it can.

    `json.loads` raises RecursionError for deep nesting.
    """
    # Rust accepts no half of a surrogate pair.
    return json_problem(text.encode(errors="replace").decode())
