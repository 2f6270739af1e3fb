"""The context of an evaluation as a person types it: lines of name=value, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from math import isfinite

from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._words.json_text import parse_json, scalar_of
from flagstaff._words.storable import is_storable
from flagstaff.conf.attribute_sources import BUILT_IN


@dataclass(frozen=True)
class TypedContext:
    """The attributes that a person has typed."""

    attributes: dict[str, object]
    #: What is wrong, as sentences.
    problems: tuple[str, ...] = ()


def parse_context(text: str) -> TypedContext:
    """Returns the context of a text: an object in JSON, or lines of name=value. Does not query."""
    pairs: list[tuple[str, object]] = []
    problems: list[str] = []
    if text.lstrip().startswith("{"):
        try:
            pairs = [*parse_json(text).items()]
        except ValueError as error:
            problems.append(_json_problem(error))
    else:
        for line in filter(None, map(str.strip, text.splitlines())):
            name, equals, value = (part.strip() for part in line.partition("="))
            if name and equals:
                # The id of a visitor is a text, also if it looks like a number.
                pairs.append((name, value if name == VISITOR else scalar_of(value)))
            else:
                expected = _("Expected name=value, such as country=DE, not “%(line)s”.")
                problems.append(expected % {"line": line})
    problems += _problems_of(pairs)
    return TypedContext({} if problems else dict(pairs), tuple(problems))


def _json_problem(error: ValueError) -> str:
    if isinstance(error, JSONDecodeError):
        place = {"line": error.lineno, "column": error.colno}
        return _("The JSON has an error at line %(line)d, column %(column)d.") % place
    return _("The JSON cannot be read: %(problem)s.") % {"problem": error}


def _problems_of(pairs: list[tuple[str, object]]) -> Iterator[str]:
    seen = set()
    for name, value in pairs:
        texts = {"name": name}
        if name in seen:
            yield _("“%(name)s” is given twice; remove one.") % texts
        elif name in BUILT_IN:
            text = _(
                "“%(name)s” is built in: the user decides it. Type another user, or use another "
                "name."
            )
            yield text % texts
        elif not _is_usable(value) or not is_storable(name):
            yield _("“%(name)s” must be a text, a number, true, false, null or a list.") % texts
        seen.add(name)


def _is_usable(value: object) -> bool:
    if isinstance(value, list):
        return all(not isinstance(one, list) and _is_usable(one) for one in value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return is_storable(value)
    return value is None or isinstance(value, bool | int)
