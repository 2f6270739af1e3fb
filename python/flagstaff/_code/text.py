"""Finds keys as text in files of any language. Needs no Django settings, and no database."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flagstaff._code.files import NotSearchedError, read_text

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
