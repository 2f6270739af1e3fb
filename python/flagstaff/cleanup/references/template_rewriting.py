"""The text of a template with flags resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.template import Engine, engines
from django.template.backends.base import BaseEngine
from django.template.backends.django import DjangoTemplates
from django.template.base import UNKNOWN_SOURCE, Lexer, Origin, Parser

from flagstaff.cleanup.references.template_conditions import Condition, simplified
from flagstaff.cleanup.references.templates import Lines, Tag, tags_in

_OURS = ("if", "flag")
_NEXT = ("elif", "else")


@dataclass
class Block:
    """A tag with contents: its branches, which begin with a tag each, and its end."""

    name: str
    tags: list[Tag]
    end: Tag = field(init=False)
    is_clear: bool = True

    @property
    def nexts(self) -> list[Tag]:
        """The tags that end the branches."""
        return [*self.tags[1:], self.end]


def word_of(tag: Tag) -> str:
    """Returns the first word of a tag."""
    return (tag.contents.split() or [""])[0]


def blocks_in(tags: Iterable[Tag]) -> Iterator[Block]:
    """Yields the blocks whose branches are clear, when they end."""
    tags = [tag for tag in tags if tag.is_block]
    words = {word_of(tag) for tag in tags}
    opened: list[Block] = []
    for tag in tags:
        word = word_of(tag)
        if word.startswith("end"):
            block = _ended(opened, word.removeprefix("end"))
            if block is not None and block.name in _OURS and _is_clear(block):
                block.end = tag
                yield block
        elif word in _NEXT and opened:
            opened[-1].tags.append(tag)
        elif f"end{word}" in words:
            opened.append(Block(word, [tag]))


def _ended(opened: list[Block], name: str) -> Block | None:
    if all(block.name != name for block in opened):
        for block in opened:
            block.is_clear = False
        return None
    is_clear = True
    while (block := opened.pop()).name != name:
        # It has no end: `{% set x = 1 %}`. What it seemed to contain belongs to the one around.
        is_clear = is_clear and len(block.tags) == 1
    block.is_clear = block.is_clear and is_clear
    return block


def _is_clear(block: Block) -> bool:
    words = [word_of(tag) for tag in block.tags]
    return block.is_clear and "else" not in words[1:-1]


#: A line and a column.
_Place: TypeAlias = tuple[int, int]

_STRING = r"(?:\"[^\"\\]*\"|'[^'\\]*')"
_ARGUMENT = rf"(?:\w+\s*=\s*)?(?:{_STRING}|[\w.]+)"
# Tags that act while a template is parsed, whether or not their branch is rendered.
_PARSED = frozenset(
    {"block", "cycle", "extends", "from", "import", "load", "macro", "partialdef", "resetcycle"}
)
_LOOKUP = re.compile(r"(?:request\.)?flags\.\w+")
_CALL = re.compile(
    rf"(?:flag_enabled|request\.flags\.enabled)\(\s*{_STRING}(?:\s*,\s*{_ARGUMENT})*\s*\)"
    rf"|request\.flags\[\s*{_STRING}\s*\]"
)


def rewritten_template(
    source: str, results: Mapping[_Place, bool], *, is_jinja: bool
) -> tuple[str, set[_Place]]:
    """Returns the new text, and the places that are resolved in it.

    `results` has the result of the flag for each place that names it.
    """
    tags = list(tags_in(source, is_jinja=is_jinja))
    if not all(_is_readable(source, tag) for tag in tags) or any(
        before.end > after.start for before, after in pairwise(tags)
    ):
        return source, set()
    parsed = [tag for tag in tags if tag.is_block and word_of(tag) in _PARSED]
    rewriting = _Rewriting(source, results, parsed, is_jinja=is_jinja)
    for block in blocks_in(tags):
        rewriting.add(block)
    new = edited(source, rewriting.edits)
    if new == source or is_still_valid(source, new, is_jinja=is_jinja):
        return new, rewriting.done
    return source, set()


def _is_readable(source: str, tag: Tag) -> bool:
    return tag.contents in source[tag.start + 2 : tag.end - 2] and source[tag.end - 1] == "}"


@dataclass
class _Branch:
    """A branch that stays."""

    tag: Tag
    following: Tag
    condition: Condition


@dataclass
class Edit:
    """The part of a text that another one replaces."""

    start: int
    end: int
    text: str = ""


@dataclass
class _Rewriting:
    """Collects the edits of a template."""

    source: str
    results: Mapping[_Place, bool]
    #: The tags that act while the template is parsed.
    parsed: Sequence[Tag]
    is_jinja: bool = field(kw_only=True)
    edits: list[Edit] = field(default_factory=list)
    done: set[_Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lines = Lines(self.source)

    def add(self, block: Block) -> None:
        """Adds the edits of a block."""
        tags = [*block.tags, block.end]
        if any(self._strips_spaces(tag) for tag in tags):
            return
        conditions = [self._condition(tag) for tag in block.tags]
        resolved = {self._place(tag, at) for tag, one in conditions for at in one.resolved}
        if not resolved:
            return
        branches = (
            _Branch(tag, following, condition)
            for (tag, condition), following in zip(conditions, block.nexts, strict=True)
        )
        edits = list(self._edits(block, list(_kept(branches))))
        gone = [edit for edit in edits if not edit.text]
        if any(edit.start <= tag.start < edit.end for edit in gone for tag in self.parsed):
            return
        self.done |= resolved
        self.edits += edits

    def _edits(self, block: Block, kept: list[_Branch]) -> Iterator[Edit]:
        start, end = block.tags[0].start, block.end.end
        if not kept:
            yield Edit(start, end)
            return
        first, last = kept[0], kept[-1]
        if first.condition.result:
            yield Edit(start, first.tag.end)
            yield Edit(first.following.start, end)
            return
        if first.tag is not block.tags[0]:
            yield Edit(start, first.tag.start)
        for branch in kept:
            yield from self._edits_of_tag(branch, is_first=branch is first)
        for before, after in pairwise(kept):
            if before.following is not after.tag:
                yield Edit(before.following.start, after.tag.start)
        if last.following is not block.end:
            yield Edit(last.following.start, block.end.start)

    def _edits_of_tag(self, branch: _Branch, *, is_first: bool) -> Iterator[Edit]:
        word = "else" if branch.condition.result else ("if" if is_first else "elif")
        text = word if word == "else" else f"{word} {branch.condition.text}"
        is_same = word == word_of(branch.tag) and not branch.condition.resolved
        if not is_same:
            start = self.source.index(branch.tag.contents, branch.tag.start)
            yield Edit(start, start + len(branch.tag.contents), text)

    def _condition(self, tag: Tag) -> tuple[Tag, Condition]:
        word = word_of(tag)
        if word == "else":
            return tag, Condition("", result=True)
        if word == "flag":
            result = self.results.get(self._place(tag, None))
            return tag, Condition("", result, resolved=() if result is None else (-1,))
        begin = tag.contents.index(word) + len(word)
        begin += len(tag.contents[begin:]) - len(tag.contents[begin:].lstrip())

        def result_of(offset: int, text: str) -> bool | None:
            is_evaluation = _LOOKUP.fullmatch(text) or (self.is_jinja and _CALL.fullmatch(text))
            return self.results.get(self._place(tag, begin + offset)) if is_evaluation else None

        found = simplified(tag.contents[begin:], result_of, has_brackets=self.is_jinja)
        offsets = tuple(begin + offset for offset in found.resolved)
        return tag, Condition(found.text, found.result, found.is_plain, offsets)

    def _strips_spaces(self, tag: Tag) -> bool:
        return self.source[tag.start + 2] in "+-" or self.source[tag.end - 3] in "+-"

    def _place(self, tag: Tag, offset: int | None) -> _Place:
        """Returns the place of an offset in the contents of a tag, by default of the tag itself."""
        start = tag.start
        if offset is not None and offset >= 0:
            start = self.source.index(tag.contents, tag.start) + offset
        line, column = self.lines.place(start)
        return line, column + 1


def _kept(branches: Iterator[_Branch]) -> Iterator[_Branch]:
    """Yields the branches that may be chosen."""
    for branch in branches:
        if branch.condition.result is not False:
            yield branch
        if branch.condition.result:
            return


def edited(source: str, edits: list[Edit]) -> str:
    """Returns the text with these edits; whole lines if nothing replaces what is on them."""
    parts: list[str] = []
    place = 0
    for edit in edits:
        if not edit.text:
            edit.start, edit.end = _whole_lines(source, edit.start, edit.end)
    for edit in sorted(edits, key=lambda one: (one.start, one.end)):
        if edit.start >= place:
            parts += [source[place : edit.start], edit.text]
        place = max(place, edit.end)
    return "".join([*parts, source[place:]])


def _whole_lines(source: str, start: int, end: int) -> tuple[int, int]:
    """Returns the part with its lines, if nothing else is on them."""
    line = source.rfind("\n", 0, start) + 1
    after = source.find("\n", end)
    after = len(source) if after < 0 else after + 1
    if source[line:start].strip() or source[end:after].strip():
        return start, end
    return line, after


# Attributes of a parser that do not depend on what it has parsed.
_INPUT = frozenset({"command_stack", "libraries", "origin", "tokens"})
# Deep enough for relative names such as "../base.html".
_ORIGIN = Origin(UNKNOWN_SOURCE, template_name="a/b/c/d/e/f/page.html")


def is_still_valid(before: str, after: str, *, is_jinja: bool, has_same_tags: bool = True) -> bool:
    """Returns False if the old template does not compile here, or the new one does not.

    With `has_same_tags`, compiling it must also leave the parser of Django as before: with the same
    tags, filters, blocks and named cycles.
    """
    try:
        if is_jinja:
            return _is_valid_jinja(before, after)
        old, new = _after_parsing(before, after)
    except Exception:  # noqa: BLE001 (code of any tag library)
        return False
    return old == new or not has_same_tags


def _after_parsing(before: str, after: str) -> tuple[object, object]:
    found = (backend.engine for backend in _backends() if isinstance(backend, DjangoTemplates))
    engine = next(found, None) or Engine()
    return _parsed(before, engine), _parsed(after, engine)


def _parsed(source: str, engine: Engine) -> object:
    """Returns what the parser knows after the template. Raises an error if it is not valid."""
    tokens = Lexer(source).tokenize()
    parser = Parser(tokens, engine.template_libraries, engine.template_builtins, _ORIGIN)
    parser.parse()
    return {name: _shape(value) for name, value in vars(parser).items() if name not in _INPUT}


def _shape(value: object) -> object:
    match value:
        case dict():
            return {key: _shape(one) for key, one in value.items()}
        case list() | tuple() | set():
            return [_shape(one) for one in value]
        case str() | int():
            return value
        case _:
            return value if callable(value) else type(value)


def _is_valid_jinja(before: str, after: str) -> bool:
    from jinja2 import Environment  # noqa: PLC0415 (optional)

    found = (getattr(backend, "env", None) for backend in _backends())
    environment = next((one for one in found if isinstance(one, Environment)), None)
    if environment is None:
        extensions = ["flagstaff.jinja2.FlagstaffExtension", *_EXTENSIONS]
        environment = Environment(autoescape=True, extensions=extensions)
    for source in (before, after):
        environment.compile(source)
    return True


# Those of Jinja2 itself, for a project without a backend.
_EXTENSIONS = ("jinja2.ext.do", "jinja2.ext.i18n", "jinja2.ext.loopcontrols")


def _backends() -> Iterator[BaseEngine]:
    try:
        yield from engines.all()
    except ImproperlyConfigured:
        return
