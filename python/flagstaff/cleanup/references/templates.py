"""A template → its references, by the lexer of Django or of Jinja2."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from django.template.base import DebugLexer, TokenType
from django.utils.text import smart_split

from flagstaff.cleanup.references.files import LimitError, is_jinja
from flagstaff.cleanup.references.functions import Function
from flagstaff.cleanup.references.model import About, Kind, Reference
from flagstaff.cleanup.references.vocabularies import Vocabulary

# No template that people write has more, or a longer one.
_MAX_TAGS = 5_000
_MAX_LENGTH = 10_000

# Libraries of others that have a tag with one of our names.
_OTHER_LIBRARIES = frozenset({"waffle_tags", "feature_flags", "flags"})
# Libraries whose tags need no `{% load %}` if the settings name them as built-in.
_BUILTINS = {
    b"flagstaff.templatetags.flagstaff": "flagstaff",
    b'"waffle.templatetags.waffle_tags"': "waffle_tags",
    b"'waffle.templatetags.waffle_tags'": "waffle_tags",
}
_PROCESSOR = b"flagstaff.context_processors"
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_LOOKUP = re.compile(r"(?<![\w.])(request\.)?flags\.(\w+)(\()?")
_METHODS = {
    "enabled": About.FLAG,
    "aenabled": About.FLAG,
    "value": About.VALUE,
    "variant": About.EXPERIMENT,
}
_NO_KEYS = frozenset(
    {"all", "aall", "client_side", "context", "snapshot", "visitor", "items", "keys", "values"}
)
_STRING = re.compile(r"\"([^\"\\]*)\"|'([^'\\]*)'")


_OF_FLAG = Function(Kind.TEMPLATE)


@dataclass(frozen=True)
class Setup:
    """What the Python files say about templates."""

    #: The libraries whose tags need no `{% load %}`.
    builtins: frozenset[str] = frozenset()
    #: Templates have the variable `flags`.
    has_flags: bool = False

    def __or__(self, other: Setup) -> Setup:
        return Setup(self.builtins | other.builtins, self.has_flags or other.has_flags)


@dataclass(frozen=True)
class Tag:
    """The contents of `{% … %}` or `{{ … }}`, and the place of the whole in the template."""

    contents: str
    start: int
    end: int
    is_block: bool


class Lines:
    """The lines of a text, and the line of each of its characters."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0]
        for line in source.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def place(self, at: int) -> tuple[int, int]:
        """Returns the line of a character, from 1, and its column, from 0."""
        line = bisect_right(self._starts, at)
        return line, at - self._starts[line - 1]

    def text(self, line: int) -> str:
        """Returns a line."""
        return self._source[self._starts[line - 1] : self._starts[line] - 1]


def setup_in(data: bytes) -> Setup:
    """Returns what a Python file says about templates."""
    found = frozenset(name for text, name in _BUILTINS.items() if text in data)
    return Setup(found, _PROCESSOR in data)


def in_template(path: str, data: bytes, setup: Setup, vocabulary: Vocabulary) -> list[Reference]:
    """Returns the references in a template."""
    source = data.decode("utf-8", "replace")
    found = _Finder(path, source, setup, vocabulary, is_jinja=is_jinja(path))
    return list(dict.fromkeys(found.references(tags_in(source, is_jinja=is_jinja(path)))))


def tags_in(source: str, *, is_jinja: bool) -> Iterator[Tag]:
    """Yields the tags of a template; some of them twice if Jinja2 cannot read it.

    Raises LimitError for a template with too many tags, or with a tag that is too long.
    """
    if source.count("{%") + source.count("{{") > _MAX_TAGS:
        raise LimitError(f"it has more than {_MAX_TAGS:,} tags")
    for tag in _jinja_tags(source) if is_jinja else _django_tags(source):
        if len(tag.contents) > _MAX_LENGTH:
            raise LimitError(f"it has a tag with more than {_MAX_LENGTH:,} characters")
        yield tag


class _Finder:
    def __init__(
        self, path: str, source: str, setup: Setup, vocabulary: Vocabulary, *, is_jinja: bool
    ) -> None:
        self._path = path
        self._source = source
        self._lines = Lines(source)
        self._setup = setup
        self._vocabulary = vocabulary
        # The functions of the tags. The last library that has a tag decides about it.
        self._tags: dict[str, Function] = {}
        for library in sorted(setup.builtins):
            self._tags.update(vocabulary.libraries.get(library, {}))
        if is_jinja:
            # An extension has them.
            self._tags.update(vocabulary.libraries["flagstaff"])

    def references(self, tags: Iterator[Tag]) -> Iterator[Reference]:
        for tag in tags:
            if tag.is_block:
                yield from self._of_block(tag)
            yield from self._of_expression(tag)

    def _of_block(self, tag: Tag) -> Iterator[Reference]:
        name, *bits = _split(tag.contents) or [""]
        if name == "load":
            self._load(bits)
        elif name in self._tags and bits:
            shown = f"{{% {name} %}}"
            yield self._reference(tag.start, self._tags[name], shown, _constant(bits[0]))

    def _load(self, bits: list[str]) -> None:
        libraries = bits[bits.index("from") + 1 :] if "from" in bits else bits
        for library in libraries:
            if library in self._vocabulary.libraries:
                self._tags.update(self._vocabulary.libraries[library])
            elif library in _OTHER_LIBRARIES:
                self._tags.clear()

    def _of_expression(self, tag: Tag) -> Iterator[Reference]:
        # Quoted texts keep their length, so that the places stay right.
        bare = _QUOTED.sub(lambda found: "\0" * len(found[0]), tag.contents)
        for found in _LOOKUP.finditer(bare):
            is_ours = found[1] or self._setup.has_flags
            name = found[2]
            if is_ours and name not in _NO_KEYS and not (found[3] and name in _METHODS):
                shown = f"{found[1] or ''}flags.{name}"
                yield self._reference(self._place(tag, found.start()), _OF_FLAG, shown, name)
        for found in self._vocabulary.template_calls.finditer(bare):
            key = _STRING.match(tag.contents, found.end())
            text = (key[1] if key[1] is not None else key[2]) if key else None
            place = self._place(tag, found.start())
            yield self._reference(
                place, self._vocabulary.template_functions[found[1]], found[1], text
            )

    def _place(self, tag: Tag, offset: int) -> int:
        # The contents are stripped.
        return self._source.index(tag.contents, tag.start) + offset

    def _reference(self, start: int, function: Function, name: str, key: str | None) -> Reference:
        line, column = self._lines.place(start)
        kind = Kind.TEMPLATE if key is not None else Kind.DYNAMIC
        return Reference(
            self._path,
            line,
            column + 1,
            kind,
            key,
            self._lines.text(line).strip(),
            function.about,
            name,
            "" if key is not None else "*",
            source=function.source,
        )


def _django_tags(source: str) -> Iterator[Tag]:
    comment = False
    for token in DebugLexer(_without_open_ends(source)).tokenize():
        is_block = token.token_type == TokenType.BLOCK
        if is_block and token.contents.partition(" ")[0] in ("comment", "endcomment"):
            comment = not token.contents.startswith("end")
        elif not comment and token.position and (is_block or token.token_type == TokenType.VAR):
            start, end = token.position
            yield Tag(source[start + 2 : end - 2].strip(), start, end, is_block=is_block)


def _without_open_ends(source: str) -> str:
    """Blanks out beginnings of tags without an end on their line, which are plain text.

    The lexer would look for the end of each of them up to the end of the line.
    """
    lines = source.split("\n")
    for number, line in enumerate(lines):
        for opening, closing in (("{%", "%}"), ("{{", "}}"), ("{#", "#}")):
            end = line.rfind(closing)
            place = end + len(closing) if end >= 0 else 0
            line = line[:place] + line[place:].replace(opening, "  ")  # noqa: PLW2901
        lines[number] = line
    return "\n".join(lines)


def _jinja_tags(source: str) -> Iterator[Tag]:
    """Yields the tags by the lexer of Jinja2; without Jinja2, by that of Django."""
    try:
        from jinja2 import Environment, TemplateSyntaxError  # noqa: PLC0415 (optional)
    except ImportError:
        yield from _django_tags(source)
        return
    parts: list[str] = []
    place = start = 0
    try:
        for _line, kind, text in Environment(keep_trailing_newline=True, autoescape=True).lex(
            source
        ):
            at = source.find(text, place)
            place = (at if at >= 0 else place) + len(text)
            if kind in ("block_begin", "variable_begin"):
                start, parts = at, []
            elif kind in ("block_end", "variable_end"):
                end = place - len(text) + len(text.rstrip())
                yield Tag("".join(parts).strip(), start, end, is_block=kind == "block_end")
            else:
                parts.append(text)
    except TemplateSyntaxError:
        yield from _django_tags(source)


def _split(contents: str) -> list[str]:
    # In Jinja2, commas separate the arguments.
    return [bit.rstrip(",") for bit in smart_split(contents)]


def _constant(bit: str) -> str | None:
    found = _STRING.fullmatch(bit)
    return (found[1] if found[1] is not None else found[2]) if found else None
