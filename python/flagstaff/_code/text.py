"""Finds keys in files that are not Python: as text, in templates, and in calls of other languages.

Needs no Django settings, and no database.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from flagstaff._code.files import ANY, EXPERIMENT, FLAG, VALUE, NotSearchedError, Use, read_text

# The characters of a line of code that are shown.
_MAX_CODE = 200
_WORD = re.compile(r"\w+")
# A key that any text may have, as "weekly". It counts between quotes, as an attribute, as the first
# argument of a call, and beside what turns flags off.
_COMMON = re.compile(r"[^\W\d_]+")
_QUOTES = ("'", '"', "`")
_ATTRIBUTE_OR_CALL = re.compile(r"(?:[\w)\]?]\.|\w\(\s*)\Z")
_OF_FLAGS = re.compile(r"FLAGSTAFF_FORCE_OFF|(?:manage\.py|django-admin) flags ")
# The characters before a key that decide.
_MAX_BEFORE = 20


@dataclass(frozen=True)
class Place:
    """A line of a file that names a key."""

    path: str
    #: The first line is 1.
    line: int
    #: The line without its indent; of a long one, the part around the key.
    code: str


@dataclass(frozen=True)
class Found:
    """The places of each key, and the text files that were not searched, with the reasons."""

    places: Mapping[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    not_searched: dict[str, str] = field(default_factory=dict)


def find_places(paths: Iterable[str], keys: Collection[str]) -> Found:
    """Returns the places of keys. Each line is a place of a key once.

    A key is found between any characters that cannot continue it: quotes, brackets, spaces. So
    `request.flags.new_checkout` names the key "new_checkout", but "new_checkout-2" does not. A key
    of letters only may be a word of any text, and is not found outside of quotes and calls.
    """
    search, keys_by_word = Found(), _by_word(keys)
    for path in paths:
        try:
            text = read_text(path)
        except (OSError, NotSearchedError) as error:
            search.not_searched[path] = str(error.strerror if isinstance(error, OSError) else error)
            continue
        # Most files have no word of any key. Only those that are there are worth a pattern.
        words = keys_by_word.keys() & {"", *_WORD.findall(text)}
        if candidates := [key for word in words for key in keys_by_word[word]]:
            for key, line, code in _lines_with(text, _pattern(candidates)):
                search.places[key].append(Place(path, line, code))
    return search


def _by_word(keys: Iterable[str]) -> dict[str, list[str]]:
    """Returns keys by the longest word in them. A key without a word, as SQL can write, has ""."""
    by_word: dict[str, list[str]] = defaultdict(list)
    for key in filter(None, keys):
        by_word[max(_WORD.findall(key), key=len, default="")].append(key)
    return by_word


def _pattern(keys: Sequence[str]) -> re.Pattern[str]:
    """Returns the pattern of all these keys. The longest one at a place is found.

    A dot may stand beside a key, as in `flags.new_checkout`, unless the key itself has dots: then
    it continues the key, as a hyphen between two words does.
    """
    parts = []
    for joint, some in (
        (r"[-.]", [key for key in keys if "." in key]),
        ("-", [key for key in keys if "." not in key]),
    ):
        if some:
            either = "|".join(map(re.escape, sorted(some, key=len, reverse=True)))
            parts.append(rf"(?<!\w)(?<!\w{joint})(?:{either})(?!\w|{joint}\w)")
    return re.compile("|".join(parts))


def _lines_with(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int, str]]:
    """Yields each key in each line, with the number of the line and its code."""
    # Not splitlines: editors count the line breaks alone.
    for number, line in enumerate(text.split("\n"), start=1):
        matches = [match for match in pattern.finditer(line) if _is_key(match)]
        first = {match[0]: match.start() for match in reversed(matches)}
        for key, start in sorted(first.items(), key=lambda item: item[1]):
            yield key, number, _code(line, start)


def _is_key(match: re.Match[str]) -> bool:
    """Whether the text at a place in a line is a key, and not a word of a sentence."""
    line, start = match.string, match.start()
    if not _COMMON.fullmatch(match[0]):
        return True
    before, after = line[max(start - _MAX_BEFORE, 0) : start], line[match.end() : match.end() + 1]
    is_quoted = after in _QUOTES and before.endswith(after)
    return is_quoted or bool(_ATTRIBUTE_OR_CALL.search(before) or _OF_FLAGS.search(line))


def _code(line: str, start: int) -> str:
    if len(line.strip()) <= _MAX_CODE:
        return line.strip()
    begin = max(start - _MAX_CODE // 4, 0)
    part = line[begin : begin + _MAX_CODE].strip()
    more = "…" if begin + _MAX_CODE < len(line) else ""
    return f"{'…' if begin else ''}{part}{more}"


# As uses: in templates, and in calls of other languages.

# Kinds by the name in a match.
_Kinds: TypeAlias = Mapping[str | None, str]
_KEY = r"""(?P<quote>['"])(?P<key>[^'"{}%\n]+)(?P=quote)"""
_TAG = re.compile(rf"\{{%[-+]?\s*(?P<name>flag|value|variant)\s+{_KEY}")
_TAGS: _Kinds = {"flag": FLAG, "value": VALUE, "variant": EXPERIMENT}
_CALL = re.compile(rf"\b(?P<name>flag_enabled|get_value|get_variant)\(\s*{_KEY}")
_CALLS: _Kinds = {"flag_enabled": FLAG, "get_value": VALUE, "get_variant": EXPERIMENT}
_LOADED = re.compile(r"\{%[-+]?\s*load\s+([^%]*)%\}")
# What is not run.
_TEXT = re.compile(
    r"\{#.*?#\}|\{%\s*(?P<tag>comment|verbatim)\b.*?%\}.*?\{%\s*end(?P=tag)\b.*?%\}", re.DOTALL
)
_EXPRESSION = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_OF_REQUEST = re.compile(r"\brequest\.flags\.(?P<key>\w+)")
_VARIABLE = re.compile(r"(?<![\w.'\"])flags\.(?P<key>\w+)")
# A template that gives the name to a variable of its own.
_OWN_VARIABLE = re.compile(
    r"\{%[-+]?\s*"
    r"(?:for\b[^%]*\bflags\b[^%]*\sin\s|(?:with|set)\b[^%]*\bflags\s*=|[^%]*\sas flags\b)"
)
# Members of `request.flags`, which are no keys.
_MEMBERS = {
    *("aall", "aenabled", "all", "avalue", "client_side", "context", "enabled"),
    *("snapshot", "value", "variant", "visitor"),
}

# In other languages: calls of OpenFeature, what an operator types, and what forces flags off.
_OPENFEATURE = re.compile(
    rf"\b(?:get|use)(?P<name>Boolean|String|Number|Object|)(?:Flag|Value|Details)+(?:<[^>]*>)?\(\s*{_KEY}"
)
_TYPES: _Kinds = {"Boolean": FLAG, "": ANY}
_COMMAND = re.compile(
    r"\b(?:manage\.py|django-admin) flags "
    r"(?:kill|off|on|rollout|release|allow|disallow|(?P<name>value set)) "
    r"(?P<key>[\w.][\w.-]*)"
)
_ACTIONS: _Kinds = {None: FLAG}
_FORCED_OFF = re.compile(r"FLAGSTAFF_FORCE_OFF['\"]?\s*[=:]\s*['\"]?(?P<keys>[\w.,-]+)")


@dataclass(frozen=True)
class TemplateNames:
    """What the project's template engines make of the names in templates."""

    #: The tags need no `{% load flagstaff %}`.
    has_builtin_tags: bool = False
    #: `flags` is a variable of all templates.
    has_variable: bool = False
    #: The folders of the templates of Jinja2 that have our extension.
    jinja_folders: tuple[Path, ...] = ()


def template_uses(path: str, text: str, names: TemplateNames) -> Iterator[Use]:
    """Yields the uses of keys in a template."""
    if "flag" not in text and "get_va" not in text:
        return
    text = _TEXT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    is_jinja = any(folder in Path(path).absolute().parents for folder in names.jinja_folders)
    loaded = {word for tag in _LOADED.finditer(text) for word in tag[1].split()}
    if is_jinja or names.has_builtin_tags or "flagstaff" in loaded:
        yield from _uses(_TAG, path, text, _TAGS)
    if is_jinja:
        yield from _uses(_CALL, path, text, _CALLS)
    has_variable = names.has_variable and not _OWN_VARIABLE.search(text)
    for expression in _EXPRESSION.finditer(text):
        for pattern in (_OF_REQUEST, _VARIABLE) if has_variable else (_OF_REQUEST,):
            for match in pattern.finditer(text, *expression.span()):
                if match["key"] not in _MEMBERS:
                    yield _use(path, text, match.start("key"), FLAG, match["key"])


def text_uses(path: str, text: str) -> Iterator[Use]:
    """Yields the keys that a text of any language names as keys."""
    yield from _uses(_OPENFEATURE, path, text, _TYPES)
    yield from _uses(_COMMAND, path, text, _ACTIONS)
    for match in _FORCED_OFF.finditer(text):
        for key in filter(None, match["keys"].split(",")):
            yield _use(path, text, match.start(), FLAG, key)


def _uses(pattern: re.Pattern[str], path: str, text: str, kinds: _Kinds) -> Iterator[Use]:
    for match in pattern.finditer(text):
        kind = kinds.get(match["name"], VALUE)
        yield _use(path, text, match.start("key"), kind, match["key"])


def _use(path: str, text: str, start: int, kind: str, key: str) -> Use:
    begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
    code = text[begin : end if end >= 0 else len(text)].strip()
    return Use(path, text.count("\n", 0, start) + 1, code, kind, key)
