"""The context of an evaluation as a person types it: texts of name=value, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from math import isfinite

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._words.json_text import parse_json, scalar_of
from flagstaff._words.text import Sentence, is_storable, say
from flagstaff.conf import BUILT_IN


@dataclass(frozen=True)
class TypedContext:
    """The attributes that a person has typed."""

    attributes: dict[str, object]
    #: What is wrong; then there are no attributes.
    problems: tuple[Sentence, ...] = ()


def parse_text(text: str) -> TypedContext:
    """Returns the context of a text: an object in JSON, or lines of name=value. Does not query."""
    if not text.lstrip().startswith("{"):
        return parse_pairs(filter(None, map(str.strip, text.splitlines())))
    try:
        return _context(parse_json(text).items())
    except JSONDecodeError as error:
        problem = say(
            "the JSON has an error at line {line}, column {column}",
            line=str(error.lineno),
            column=str(error.colno),
        )
    except ValueError as error:
        problem = say("the JSON cannot be read: {problem}", problem=str(error))
    return TypedContext({}, (problem,))


def parse_pairs(texts: Iterable[str]) -> TypedContext:
    """Returns the context of texts such as country=DE. Does not query."""
    pairs: list[tuple[str, object]] = []
    problems: list[Sentence] = []
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name and equals:
            # The id of a visitor is a text, also if it looks like a number.
            pairs.append((name, value if name == VISITOR else scalar_of(value)))
        else:
            problems.append(say('expected name=value, such as country=DE, not "{text}"', text=text))
    return _context(pairs, problems)


def _context(
    pairs: Iterable[tuple[str, object]], problems: Iterable[Sentence] = ()
) -> TypedContext:
    pairs = list(pairs)
    problems = (*problems, *_problems_of(pairs))
    return TypedContext({} if problems else dict(pairs), problems)


def _problems_of(pairs: Iterable[tuple[str, object]]) -> Iterator[Sentence]:
    seen = set()
    for name, value in pairs:
        if name in seen:
            yield say('"{name}" is given twice; remove one', name=name)
        elif name in BUILT_IN:
            yield say(
                '"{name}" is built in: the user decides it; use another user or another name',
                name=name,
            )
        elif not _is_usable(value) or not is_storable(name):
            yield say('"{name}" must be a text, a number, true, false, null or a list', name=name)
        seen.add(name)


def _is_usable(value: object) -> bool:
    if isinstance(value, list):
        return all(not isinstance(item, list) and _is_usable(item) for item in value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return is_storable(value)
    return value is None or isinstance(value, bool | int)
