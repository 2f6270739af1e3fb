"""Converts a document to JSON and back. Refuses duplicate keys and NaN, which `json` accepts."""

from __future__ import annotations

import json
import math
from typing import Final

from flagstaff._words.text import Text
from flagstaff.exceptions import DocumentError
from flagstaff.serialization.problems import MAX_DEPTH, Path, Problem, Problems

#: The maximum size in bytes: some hundred thousand allowed users.
LARGEST: Final = 16 * 2**20


class _Pairs(list[tuple[str, object]]):
    """An object with all its keys, including duplicates."""


class _InvalidNumber(str):
    """The text of NaN, an infinity, or a number that overflows."""

    __slots__ = ()


def as_text(document: object, *, ascii_only: bool = False) -> str:
    """Returns the text of an exported document."""
    return json.dumps(document, indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def loads(text: str, problems: Problems) -> object:
    """Returns the parsed text. Raises DocumentError if it is too large or not JSON."""
    # "replace", because lone surrogates are reported later with their place.
    if len(text.encode(errors="replace")) > LARGEST:
        raise DocumentError(
            [
                Problem(
                    (),
                    Text(
                        "the file is larger than {limit} bytes; import it in parts", limit=LARGEST
                    ),
                )
            ]
        )
    try:
        tree = json.loads(
            text, object_pairs_hook=_Pairs, parse_float=_float, parse_constant=_InvalidNumber
        )
    except json.JSONDecodeError as error:
        raise DocumentError(
            [Problem((), Text("invalid JSON: {reason}", reason=error.msg), error.lineno)]
        ) from None
    except RecursionError:
        raise DocumentError(
            [Problem((), Text("the file is nested deeper than {limit} levels", limit=MAX_DEPTH))]
        ) from None
    except ValueError:  # more digits than Python parses
        raise DocumentError(
            [Problem((), Text("the file has a number with too many digits; write it as a text"))]
        ) from None
    return _plain(tree, (), problems)


def _float(text: str) -> float | _InvalidNumber:
    number = float(text)
    return number if math.isfinite(number) else _InvalidNumber(text)


def _plain(tree: object, path: Path, problems: Problems) -> object:
    if len(path) > MAX_DEPTH:
        problems.add(path[:2], Text("is nested deeper than {limit} levels", limit=MAX_DEPTH))
        return None
    if isinstance(tree, _InvalidNumber):
        problems.add(path, Text("is not a valid JSON number"))
        return None
    if isinstance(tree, _Pairs):
        return _object(tree, path, problems)
    if isinstance(tree, list):
        return [_plain(item, (*path, index), problems) for index, item in enumerate(tree)]
    if isinstance(tree, str):
        problems.check_text(path, tree)
    return tree


def _object(pairs: _Pairs, path: Path, problems: Problems) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in pairs:
        problems.check_text((*path, key), key)
        if key in plain:
            problems.add((*path, key), Text("is a duplicate key"))
        plain.setdefault(key, _plain(item, (*path, key), problems))
    return plain
