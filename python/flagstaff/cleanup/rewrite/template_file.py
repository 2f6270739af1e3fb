"""A template → its new text with the tags of flagstaff, or what stays in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from django.template import engines
from django.utils.text import smart_split

from flagstaff.cleanup.references.files import is_jinja
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.template_rewriting import (
    Edit,
    edited,
    is_still_valid,
    word_of,
)
from flagstaff.cleanup.references.templates import Lines, Setup, Tag, tags_in
from flagstaff.cleanup.references.vocabularies import WAFFLE
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.context_names import ContextNames
from flagstaff.cleanup.rewrite.keys import Keys
from flagstaff.cleanup.rewrite.reasons import Left, Reason

_LIBRARY, _OURS = "waffle_tags", "flagstaff"
_TAGS = WAFFLE.libraries[_LIBRARY]
_ENDS = frozenset(f"end{name}" for name in _TAGS)
# Tags of ours that another library may have, too.
_OUR_OTHERS = frozenset({"value", "variant"})
_STRING = re.compile(r"\"([^\"\\]*)\"|'([^'\\]*)'")
_CALL = re.compile(r"(?<![\w.])waffle\.(\w+)(?:\(\s*(?:\"([^\"\\]*)\"|'([^'\\]*)')\s*\))?")
_SCRIPT = re.compile(r"\bwaffle\.(?:flag|switch|sample)_is_active\s*\(|\bwaffle_status\b")


class _StaysError(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.why)
        self.reason = reason


class TemplateFile:
    """Rewrites one template: all of its tags, or none."""

    def __init__(
        self, path: str, source: str, keys: Keys, setup: Setup, variables: ContextNames
    ) -> None:
        self._path = path
        self._source = source
        self._keys = keys
        self._setup = setup
        self._variables = variables
        self._is_jinja = is_jinja(path)
        self._lines = Lines(source)
        self._edits: list[Edit] = []
        self._places: list[int] = []
        self._stays: dict[int, Reason] = {}

    def rewritten(self) -> tuple[str, int, list[Left]]:
        """Returns the new text, how many places it rewrites, and what stays."""
        tags = list(tags_in(self._source, is_jinja=self._is_jinja))
        if self._is_jinja:
            self._jinja(tags)
        else:
            self._django(tags)
        scripts = [found.start() for found in _SCRIPT.finditer(self._source)]
        new = edited(self._source, self._edits) if not self._stays else self._source
        if self._edits and not self._stays:
            is_valid = all(one.end <= other.start for one, other in pairwise(tags))
            if not is_valid or not is_still_valid(
                self._source, new, is_jinja=self._is_jinja, has_same_tags=False
            ):
                self._stays = dict.fromkeys(self._places, reasons.NOT_COMPILED)
        if self._stays:
            for place in self._places:
                self._stays.setdefault(place, reasons.OTHER_TAG)
        left = [self._left(place, reason) for place, reason in self._stays.items()]
        left += [self._left(place, reasons.SCRIPT) for place in scripts]
        if self._stays:
            return self._source, 0, sorted(left)
        # A `{% load %}` without a tag is a place, too.
        return new, len(self._places) or len(self._edits), sorted(left)

    def _left(self, place: int, reason: Reason) -> Left:
        line, column = self._lines.place(place)
        code = self._lines.text(line).strip()
        return reason.at(self._path, line, column + 1, code)

    # Django.

    def _django(self, tags: Sequence[Tag]) -> None:
        is_builtin = is_waffle = _LIBRARY in self._setup.builtins
        for tag in (one for one in tags if one.is_block):
            word, *bits = list(smart_split(tag.contents)) or [""]
            if word == "load":
                libraries = bits[bits.index("from") + 1 :] if "from" in bits else bits
                is_waffle = is_waffle or _LIBRARY in libraries
                self._load(tag, libraries, tags)
            elif word in _TAGS and is_waffle:
                self._places.append(tag.start)
                if is_builtin:
                    self._stays[tag.start] = reasons.BUILTIN
                    continue
                try:
                    self._tag(tag, word, bits, tags)
                except _StaysError as error:
                    self._stays[tag.start] = error.reason
            elif word in _ENDS and is_waffle:
                self._edit(tag, 0, len(word), "endflag")
            elif is_waffle and word == "wafflejs":
                self._places.append(tag.start)
                self._stays[tag.start] = reasons.SCRIPT
            elif word in _OUR_OTHERS and self._edits:
                self._stays[tag.start] = reasons.BOTH_LIBRARIES

    def _load(self, tag: Tag, libraries: Sequence[str], tags: Sequence[Tag]) -> None:
        if _OURS in libraries or _OURS in self._setup.builtins:
            words = (one.contents.split() for one in tags if one.is_block)
            if any(one[:1] == ["load"] and _LIBRARY in one for one in words):
                self._stays[tag.start] = reasons.BOTH_LIBRARIES
        elif _LIBRARY in libraries:
            start = tag.contents.rindex(_LIBRARY)
            self._edit(tag, start, start + len(_LIBRARY), _OURS)
            if " from " in tag.contents:
                names = tag.contents[len("load") : tag.contents.index(" from ")].split()
                if {*names} - {*_TAGS}:
                    self._stays[tag.start] = reasons.SCRIPT
                self._edit(tag, len("load "), tag.contents.index(" from "), "flag")

    def _tag(self, tag: Tag, word: str, bits: Sequence[str], tags: Sequence[Tag]) -> None:
        function = _TAGS[word]
        if not function.becomes:
            raise _StaysError(reasons.SAMPLE)
        if not _has_request():
            raise _StaysError(reasons.NO_CONTEXT)
        if len(bits) != 1:
            raise _StaysError(reasons.ARGUMENTS)
        found = _STRING.fullmatch(bits[0])
        if found is None:
            self._require_bare(bits[0], tag, tags)
        name = (found[1] if found[1] is not None else found[2]) if found else bits[0]
        key = self._checked(function.source, name)
        start = tag.contents.index(bits[0], len(word))
        new = f'"{key}"' if found is None else bits[0].replace(name, key)
        if new != bits[0]:
            self._edit(tag, start, start + len(bits[0]), new)
        if word != "flag":
            self._edit(tag, 0, len(word), "flag")

    def _require_bare(self, name: str, tag: Tag, tags: Sequence[Tag]) -> None:
        """Raises an error for a name that may be a variable of the context."""
        if not re.fullmatch(r"\w+", name):
            raise _StaysError(reasons.DYNAMIC)
        word = re.compile(rf"(?<!\w){name}(?!\w)")
        for other in tags:
            if word_of(other) not in _TAGS and word.search(other.contents):
                raise _StaysError(reasons.VARIABLE)
        if name in self._variables:
            raise _StaysError(reasons.VARIABLE)

    def _checked(self, source: str, name: str) -> str:
        problem = self._keys.problem(source, name, Kind.TEMPLATE, for_user=True)
        if problem is not None:
            raise _StaysError(problem)
        if self._keys.has_default(source):
            raise _StaysError(reasons.DEFAULT)
        return self._keys.key_of(source, name)

    def _edit(self, tag: Tag, start: int, end: int, text: str) -> None:
        at = self._source.index(tag.contents, tag.start)
        self._edits.append(Edit(at + start, at + end, text))

    # Jinja2.

    def _jinja(self, tags: Sequence[Tag]) -> None:
        for tag in tags:
            at = self._source.index(tag.contents, tag.start)
            for found in _CALL.finditer(tag.contents):
                place = at + found.start()
                self._places.append(place)
                try:
                    self._call(at, found, tags)
                except _StaysError as error:
                    self._stays[place] = error.reason

    def _call(self, at: int, found: re.Match[str], tags: Sequence[Tag]) -> None:
        function = WAFFLE.template_functions.get(f"waffle.{found[1]}")
        if function is None:
            raise _StaysError(reasons.SCRIPT)
        if not function.becomes:
            raise _StaysError(reasons.SAMPLE)
        name = found[2] if found[2] is not None else found[3]
        if name is None:
            raise _StaysError(reasons.DYNAMIC)
        if any(re.search(r"\b(?:set|for)\s+(?:\w+\s*,\s*)*waffle\b", tag.contents) for tag in tags):
            raise _StaysError(reasons.OTHER_NAME)
        if not _has_extension():
            raise _StaysError(reasons.NO_EXTENSION)
        key = self._checked(function.source, name)
        call = found[0].replace(f"waffle.{found[1]}", function.becomes, 1)
        quote = "'" if found[3] is not None else '"'
        new = call.replace(f"{quote}{name}{quote}", f"{quote}{key}{quote}")
        self._edits.append(Edit(at + found.start(), at + found.end(), new))


def _has_request() -> bool:
    """Whether all Django templates have the variable `request`."""
    processor = "django.template.context_processors.request"
    found = [getattr(backend, "engine", None) for backend in engines.all()]
    return all(processor in one.context_processors for one in found if one is not None)


def _has_extension() -> bool:
    """Whether all environments of Jinja2 have our functions."""
    found = [getattr(backend, "env", None) for backend in engines.all()]
    return all("flag_enabled" in one.globals for one in found if one is not None)
