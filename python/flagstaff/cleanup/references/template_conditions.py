"""The condition of an `if` in a template, with flags resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_TOKEN = re.compile(rf"{_STRING}|[\w.]+|\s+|[()\[\]{{}}]|[^\w\s()\[\]{{}}\"']+", re.DOTALL)
# Without a side effect.
_PLAIN = re.compile(rf"{_STRING}|[\w.]+")
_OPENING, _CLOSING = "([{", ")]}"

#: Returns the result of the evaluation that a text at an offset is, or None.
ResultOf = Callable[[int, str], bool | None]


@dataclass(frozen=True)
class Condition:
    """What becomes of a condition."""

    text: str
    #: None if it is not known.
    result: bool | None = None
    #: It can go without a difference.
    is_plain: bool = False
    #: The offsets of the evaluations that are gone.
    resolved: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    depth: int


class _UnknownError(Exception):
    """The condition is none that is understood."""


def simplified(text: str, result_of: ResultOf, *, has_brackets: bool) -> Condition:
    """Returns the condition without the evaluations whose result is known.

    Only its truth counts, so `True and x` and `x and True` are `x`. Templates of Django have no
    brackets. A condition that is not understood stays.
    """
    try:
        tokens = list(_tokens(text))
        return _Parser(text, result_of, has_brackets=has_brackets).any_of(tokens)
    except _UnknownError:
        return Condition(text)


def _tokens(text: str) -> Iterator[_Token]:
    depth = place = 0
    for found in _TOKEN.finditer(text):
        if found.start() != place:
            raise _UnknownError
        place = found.end()
        depth -= found[0] in _CLOSING
        if not found[0].isspace():
            yield _Token(found[0], found.start(), depth)
        depth += found[0] in _OPENING
    if depth or place != len(text):
        raise _UnknownError


class _Parser:
    """Reads `or`, then `and`, then `not`; anything between these words is one operand."""

    def __init__(self, text: str, result_of: ResultOf, *, has_brackets: bool) -> None:
        self._text = text
        self._result_of = result_of
        self._has_brackets = has_brackets

    def any_of(self, tokens: list[_Token]) -> Condition:
        depth = _depth(tokens)
        if any(token.text == "if" and token.depth == depth for token in tokens):
            # `a if b else c`.
            raise _UnknownError
        parts = [self._all_of(part) for part in _split(tokens, "or")]
        return _joined("or", parts, self._source(tokens))

    def _all_of(self, tokens: list[_Token]) -> Condition:
        parts = [self._negated(part) for part in _split(tokens, "and")]
        return _joined("and", parts, self._source(tokens))

    def _negated(self, tokens: list[_Token]) -> Condition:
        if not tokens:
            raise _UnknownError
        if tokens[0].text != "not" or tokens[0].depth != _depth(tokens):
            return self._operand(tokens)
        inner = self._negated(tokens[1:])
        if inner.result is not None:
            return Condition("", not inner.result, is_plain=True, resolved=inner.resolved)
        return Condition(f"not {inner.text}", None, inner.is_plain, inner.resolved)

    def _operand(self, tokens: list[_Token]) -> Condition:
        text = self._source(tokens)
        if _has_odd_word(tokens):
            raise _UnknownError
        result = self._result_of(tokens[0].start, text)
        if result is not None:
            return Condition("", result, is_plain=True, resolved=(tokens[0].start,))
        if self._has_brackets and _is_in_brackets(tokens):
            inner = self.any_of(tokens[1:-1])
            shown = inner.text if _PLAIN.fullmatch(inner.text) else f"({inner.text})"
            return Condition(shown, inner.result, inner.is_plain, inner.resolved)
        return Condition(text, is_plain=_PLAIN.fullmatch(text) is not None)

    def _source(self, tokens: list[_Token]) -> str:
        if not tokens:
            raise _UnknownError
        return self._text[tokens[0].start : tokens[-1].start + len(tokens[-1].text)]


def _joined(word: str, parts: list[Condition], source: str) -> Condition:
    """Returns what operands become that are joined by `and` or `or`."""
    if len(parts) == 1:
        return parts[0]
    decides = word == "or"
    resolved = tuple(offset for part in parts for offset in part.resolved)
    for index, part in enumerate(parts):
        if part.result is decides:
            if all(before.is_plain for before in parts[:index]):
                return Condition("", decides, is_plain=True, resolved=resolved)
            # The operands before have to be evaluated.
            return Condition(source)
    kept = [part for part in parts if part.result is None]
    if not kept:
        return Condition("", not decides, is_plain=True, resolved=resolved)
    text = f" {word} ".join(part.text for part in kept) if resolved else source
    return Condition(text, None, all(part.is_plain for part in kept), resolved)


def _split(tokens: list[_Token], word: str) -> list[list[_Token]]:
    depth = _depth(tokens)
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.text == word and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _depth(tokens: list[_Token]) -> int:
    return min((token.depth for token in tokens), default=0)


def _has_odd_word(tokens: list[_Token]) -> bool:
    """Whether there is a `not` that is no part of `not in` and `is not`."""
    depth, texts = _depth(tokens), ["", *(token.text for token in tokens), ""]
    return any(
        token.text == "not" and token.depth == depth and before != "is" and after != "in"
        for before, token, after in zip(texts, tokens, texts[2:], strict=False)
    )


def _is_in_brackets(tokens: list[_Token]) -> bool:
    first, last = tokens[0], tokens[-1]
    inside = tokens[1:-1]
    is_pair = first.text == "(" and last.text == ")" and bool(inside)
    # A comma makes it a tuple.
    return is_pair and all(
        token.depth > first.depth and not (token.depth == first.depth + 1 and "," in token.text)
        for token in inside
    )
