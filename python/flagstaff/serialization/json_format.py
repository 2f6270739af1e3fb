"""JSON text ↔ plain data, with what JSON readers usually let pass: doubled keys, NaN."""

from __future__ import annotations

import json
import math
from typing import Any

from flagstaff.exceptions import DocumentError
from flagstaff.serialization.problems import DEEPEST, TOO_DEEP, Path, Problem, Problems

__all__ = ["dumped", "loaded"]


class _Pairs(list[tuple[str, Any]]):
    """An object, with its keys as they were written."""


class _NoNumber(str):
    """NaN, an infinity, or a number too large for one; its text."""

    __slots__ = ()


def dumped(document: Any, *, ascii_only: bool = False) -> str:
    """The text of a document."""
    return json.dumps(document, indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def loaded(text: str, problems: Problems) -> Any:
    """The document of a text. Raises DocumentError where it is no JSON."""
    try:
        tree = json.loads(
            text, object_pairs_hook=_Pairs, parse_float=_number, parse_constant=_NoNumber
        )
    except json.JSONDecodeError as error:
        raise DocumentError([Problem((), f"no JSON: {error.msg}", error.lineno)]) from None
    except RecursionError:
        raise DocumentError([Problem((), TOO_DEEP)]) from None
    except ValueError:  # more digits than Python reads
        raise DocumentError([Problem((), "has a number with too many digits")]) from None
    return _plain(tree, (), problems)


def _number(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(text)


def _plain(tree: Any, path: Path, problems: Problems) -> Any:
    if len(path) > DEEPEST:
        problems.add(path[:2], TOO_DEEP)
        return None
    if isinstance(tree, _NoNumber):
        problems.add(path, "no number that JSON can hold")
        return None
    if isinstance(tree, _Pairs):
        return _object(tree, path, problems)
    if isinstance(tree, list):
        return [_plain(item, (*path, place), problems) for place, item in enumerate(tree)]
    if isinstance(tree, str):
        problems.check_text(path, tree)
    return tree


def _object(pairs: _Pairs, path: Path, problems: Problems) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in pairs:
        problems.check_text((*path, key), key)
        if key in plain:
            problems.add((*path, key), "stands here twice")
        plain.setdefault(key, _plain(item, (*path, key), problems))
    return plain
