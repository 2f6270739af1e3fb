"""Translates texts that exist only in English, such as the problems of the rule parser.

Rust, exceptions and stored events have English texts. For each of them, a page finds the message
with placeholders that matches, and shows its translation. Other texts stay English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from django.utils.formats import number_format
from django.utils.translation import gettext

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s|(%%)")
# A number as English messages write it.
_NUMBER: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?")
# Placeholders of names: a flag may have the key "1.5".
_NAMES: Final = frozenset({"key", "keys", "name", "flags", "command"})
# Longer texts are documents that a message quotes: matching them would take long.
_MAX_LENGTH: Final = 20_000


def message(text: str) -> str:
    """Marks a message for the catalogue. Django's `gettext_noop` needs the settings."""
    return text


@final
class KnownTexts:
    """Messages, each marked with `message`, and the texts that they can contain.

    >>> KnownTexts(["rollout %(old)s → %(new)s"]).translate("rollout 5 → 25")
    'rollout 5 → 25'
    """

    def __init__(
        self,
        messages: Sequence[str],
        *,
        parts: Mapping[str, Sequence[str] | Callable[[str], str]] | None = None,
        untranslated: Sequence[str] = (),
        others: Sequence[KnownTexts] = (),
    ) -> None:
        """`parts` are the messages of a placeholder, or a function that translates its text.

        Texts of `untranslated` placeholders, such as keys and commands, are the same in all
        languages. Texts of other placeholders are translated by all messages. `others` come after
        these.
        """
        self._patterns = [_Pattern(one) for one in messages]
        self._parts: dict[str, Callable[[str], str]] = dict.fromkeys(untranslated, _unchanged)
        self._parts |= {
            name: found if callable(found) else KnownTexts(found).translate
            for name, found in (parts or {}).items()
        }
        self._others = others

    def translate(self, text: str) -> str:
        """Returns the text in the active language; unchanged if no message matches."""
        found = self.find(text)
        return text if found is None else found

    def find(self, text: str) -> str | None:
        """Returns the text in the active language; None if no message matches."""
        if len(text) > _MAX_LENGTH:
            return None
        for pattern in self._patterns:
            if (values := pattern.match(text)) is not None:
                return gettext(pattern.message) % {
                    name: self._translated_part(name, value) for name, value in values.items()
                }
        found_by_others = (other.find(text) for other in self._others)
        return next((found for found in found_by_others if found is not None), None)

    def _translated_part(self, name: str, value: str) -> str:
        if _NUMBER.fullmatch(value) and name not in _NAMES:
            return _in_local_format(value)
        return self._parts.get(name, self.translate)(value)


@final
class _Pattern:
    """The parts of a message around its placeholders.

    Not a regular expression, which can take minutes for a text that repeats parts of the message.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        self._names: list[str] = []
        self._parts, end = [""], 0
        for found in _PLACEHOLDER.finditer(message):
            self._parts[-1] += message[end : found.start()] + ("%" if found[2] else "")
            if found[1]:
                self._names.append(found[1])
                self._parts.append("")
            end = found.end()
        self._parts[-1] += message[end:]

    def match(self, text: str) -> Mapping[str, str] | None:
        """Returns the texts of the placeholders, each as short as possible; None without a match.

        If the first places of the parts leave nothing for the last placeholder, no others do.
        """
        first, *others = self._parts
        if not others:
            return {} if text == first else None
        if not (text.startswith(first) and text.endswith(others[-1])):
            return None
        values, start = [], len(first)
        for part in others[:-1]:
            end = text.find(part, start + 1)
            if end < 0:
                return None
            values.append(text[start:end])
            start = end + len(part)
        last = text[start : len(text) - len(others[-1])]
        return dict(zip(self._names, [*values, last], strict=True)) if last else None


def _unchanged(text: str) -> str:
    return text


def _in_local_format(number: str) -> str:
    """Returns the number with the separators of the language.

    Grouped only if the message groups it: other numbers may be identifiers, such as versions.
    """
    plain = number.replace(",", "")
    decimals = len(plain.partition(".")[2])
    is_grouped = "," in number
    return number_format(plain, decimals or None, use_l10n=True, force_grouping=is_grouped)
