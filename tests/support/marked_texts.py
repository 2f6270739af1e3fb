"""A catalogue that marks each translated text, and the texts of a page that have no mark.

Only what stands between placeholders is marked: an English text in a translated sentence is found.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, final

import django.conf
import django.contrib.admin
import django.contrib.auth
from django.utils.translation import override, trans_real

from tests.support.translations import entries, german_catalogue
from tools.messages import POT

_BEGIN, _END = "⟦", "⟧"
_PLACEHOLDER = re.compile(r"(%\(\w+\)[a-z]|%%|%[sd]|\{\w*\})")
_MARKED = re.compile(f"{_BEGIN}[^{_BEGIN}{_END}]*{_END}", re.DOTALL)
_COMMAND = re.compile(f"(?:python )?manage\\.py flags [^{_BEGIN}{_END}…]*")
# Django stores the names of permissions in English.
_PERMISSION = re.compile(r"\bCan (?:add|change|delete|toggle|view) [a-z]+(?: [a-z]+)*")
# The keys, names and texts of these tests have a digit or no Latin letter.
_WORD = re.compile(r"(?<![\w.-])[A-Za-z]{2,}(?![\w-]|[.]\w)")
# A name in JSON.
_NAME = re.compile(r'"[a-z_]+"')
# What is the same in all languages, a kind as it is stored, the database user, what a script
# replaces by numbers, and names of attributes.
_SAME = {"true", "false", "null", "CSV", "JSON", "UTC", "release", "postgres", "rule", "condition"}
_SAME |= {"groups", "visitor"}
# The models of waffle in the sidebar, and the two names above its results.
_SAME |= {"Flags", "Samples", "Switches", "waffle", "flagstaff"}
_READ_ALOUD = (
    *("title", "placeholder", "alt", "label", "summary"),
    *("aria-label", "aria-description", "aria-roledescription", "aria-valuetext"),
)
_OWN_ATTRIBUTE = re.compile("data-(?:label|flagstaff-(?:text|label|message).*)")
_VOID = {"input", "img", "br", "hr", "link", "meta", "col", "wbr"}
_UNREAD = {"script", "style", "code", "pre", "kbd", "samp", "textarea", "datalist"}


@contextmanager
def marked() -> Iterator[None]:
    """Activates German with a catalogue that marks the texts of Django and of flagstaff."""
    catalog = trans_real.translation("de")._catalog  # type: ignore[attr-defined]
    texts: dict[Any, str] = {}
    for part in reversed(catalog._catalogs):
        texts |= {key: _mark(text) for key, text in part.items() if key}
    for context, message, plural in [*_of_django(), *entries(POT.read_text())]:
        key = f"{context}\x04{message}" if context else message
        if plural:
            texts |= {(key, 0): _mark(message), (key, 1): _mark(plural)}
        else:
            texts[key] = _mark(message)
    with german_catalogue(texts), override("de"):
        yield


def _of_django() -> Iterator[tuple[str, str, str]]:
    """The messages of Django, also those that its German catalogue lacks."""
    for module in (django.conf, django.contrib.admin, django.contrib.auth):
        folder = Path(str(module.__file__)).parent
        yield from entries((folder / "locale/en/LC_MESSAGES/django.po").read_text())


def _mark(text: str) -> str:
    parts = _PLACEHOLDER.split(text)
    return "".join(
        f"{_BEGIN}{part}{_END}" if part and not _PLACEHOLDER.fullmatch(part) else part
        for part in parts
    )


def unmarked_texts(html: str, same: frozenset[str] = frozenset()) -> list[str]:
    """Returns the texts of a page, also those read aloud, with words that have no mark."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    # The example of a JSON field is no text.
    texts = (text for text in reader.texts() if not text.startswith(("[{", "{")))
    return [text for text in dict.fromkeys(texts) if _words(text) - same]


def unmarked_in(text: str) -> str:
    """Returns a text without its marked parts; empty if it has no other words."""
    return _without_marks(text) if _words(text) else ""


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_without_marks(text))) - _SAME


def _without_marks(text: str) -> str:
    for pattern in (_COMMAND, _NAME, _PERMISSION):
        text = pattern.sub("", text)
    return _MARKED.sub(" … ", text).strip()


@final
class _Reader(HTMLParser):
    """Collects the texts of a page. A mark may begin in one element and end in another."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self._inside = False
        self._unread: list[str] = []

    def texts(self) -> Iterator[str]:
        for text in self._texts:
            if text and not text.isspace():
                yield " ".join(text.split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values: Mapping[str, str] = {name: value or "" for name, value in attributes}
        is_unread = tag in _UNREAD or "flagstaff-key" in values.get("class", "").split()
        if tag not in _VOID and (is_unread or tag in self._unread[-1:]):
            self._unread.append(tag)
        self._texts += [values[name] for name in values if self._is_read(tag, values, name)]

    def _is_read(self, tag: str, attributes: Mapping[str, str], name: str) -> bool:
        if name == "value":
            return tag == "input" and attributes.get("type") in {"submit", "button", "reset"}
        return name in _READ_ALOUD or bool(_OWN_ATTRIBUTE.fullmatch(name))

    def handle_endtag(self, tag: str) -> None:
        if self._unread and tag == self._unread[-1]:
            self._unread.pop()

    def handle_data(self, data: str) -> None:
        outside = []
        for part in re.split(f"([{_BEGIN}{_END}])", data):
            if part in {_BEGIN, _END}:
                self._inside = part == _BEGIN
            elif not self._inside:
                outside.append(part)
        if not self._unread:
            self._texts.append(" … ".join(outside))
