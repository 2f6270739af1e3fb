"""Texts for people, in English and in the reader's language; and short forms of long ones.

A text is created once, where something happens. Terminal, log and JSON use its English, and pages
show it with `localized`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeAlias, final

from django.core.exceptions import ValidationError
from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.translation import gettext

#: What can be filled in: names, counts, and other texts. Never a secret.
Value: TypeAlias = "str | int | float"

#: The number of items that a text shows by default.
MAX_SHOWN = 10
#: The length of each value in a table or a text: JSON and CSV have the whole.
MAX_VALUE = 300
#: In place of a secret on pages, in the terminal and in exports. An import keeps the stored value.
MASK = "••••••"

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


@final
class Text(str):
    """An English text with its values filled in. It knows both, so pages can translate it.

    Its English is the key in the catalogue. Numbers are counts, and shown with thousand separators:
    pass a version or another name as text. Without values, braces are not special.

    >>> Text("step {number}: rollout {old} → {new} %", number=2, old=5, new=25)
    'step 2: rollout 5 → 25 %'

    A text made from it, such as with an f-string, is plain: fill it into another one as a value.
    """

    __slots__ = ("english", "values")
    english: str
    values: Mapping[str, Value]

    def __new__(cls, english: str, /, **values: Value) -> Text:
        """Raises KeyError if the English names a value that is not given."""
        text = super().__new__(cls, _filled(english, values, str, _english_number))
        text.english, text.values = english, values
        return text

    def __getnewargs_ex__(self) -> tuple[tuple[str], Mapping[str, Value]]:
        return (self.english,), self.values


def marked(english: str) -> str:
    """Marks the English of a text for the catalogue, if the text is created elsewhere."""
    return english


def localized(text: str) -> str:
    """Returns a text in the active language. Plain ones are unchanged.

    >>> localized("a plain text")
    'a plain text'
    """
    if not isinstance(text, Text):
        return text
    return _filled(gettext(text.english), text.values, localized, local_number)


def joined(texts: Iterable[str], separator: str = ", ") -> Text:
    """Returns texts as one. Its values are the texts.

    >>> joined(["beta", "staff"])
    'beta, staff'
    """
    parts = {f"part_{number}": text for number, text in enumerate(texts)}
    return Text(separator.join(f"{{{name}}}" for name in parts), **parts)


def some(
    items: Iterable[object],
    limit: int = MAX_SHOWN,
    *,
    total: int | None = None,
    separator: str = ", ",
) -> Text:
    """Returns the first `limit` items, then "and 3 more" if there are more.

    `total` is the number of all items if `items` has only the first ones.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    texts = [item if isinstance(item, str) else str(item) for item in items]
    others = (len(texts) if total is None else total) - min(len(texts), limit)
    shown = joined(texts[:limit], separator)
    return Text("{items} and {others} more", items=shown, others=others) if others > 0 else shown


def local_list(items: Iterable[object], limit: int = MAX_SHOWN, *, total: int | None = None) -> str:
    """Returns the same in the active language."""
    return localized(some(items, limit, total=total))


def truncated(text: str, limit: int | None, length: int | None = None) -> str:
    """Returns the first `limit` characters, and the number of those left out. None cuts nothing.

    `length` is that of the whole text if `text` is only its beginning.

    >>> truncated("abcdefgh", 5)
    'abcde… (3 more characters)'
    """
    beginning = text[:limit]
    count = (len(text) if length is None else length) - len(beginning)
    if count <= 0:
        return text
    return Text("{text}… ({count} more characters)", text=beginning, count=count)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns the number with its noun in English. `plural` is by default the noun with an "s".

    >>> counted(1, "user"), counted(1_000, "user"), counted(2, "entry", "entries")
    ('1 user', '1,000 users', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def local_number(number: float) -> str:
    """Returns the number with the thousand separators of the language."""
    return number_format(Decimal(repr(number)), use_l10n=True, force_grouping=True)


def quoted(text: object) -> str:
    """Returns a key or a name in the quotation marks of the language."""
    return gettext("“%(text)s”") % {"text": text}


def described(function: Callable[..., object]) -> tuple[str, str, str]:
    """Returns the name of what a function declares, its help, and the notes in paragraphs."""
    name = function.__name__.strip("_").replace("_", "-")
    first, *notes = inspect.cleandoc(function.__doc__ or name).split("\n\n")
    text = f"{first[0].lower()}{first[1:].rstrip('.')}"
    return name, text, "\n\n".join(" ".join(paragraph.split()) for paragraph in notes)


def is_whole_number(text: str, digits: int = 18) -> bool:
    """Returns True if `text` is at most so many digits, by default those that a bigint can hold.

    Python refuses to parse very long numbers.

    >>> is_whole_number("12", 5), is_whole_number("-1", 5), is_whole_number("123456", 5)
    (True, False, False)
    """
    return text.isascii() and text.isdigit() and len(text) <= digits


def is_storable(text: str) -> bool:
    """Returns True if a text column can hold `text`: it has no NUL and no lone surrogate."""
    return _NOT_STORABLE.search(text) is None


def storable(text: str) -> str:
    """Returns the text with a replacement character for each that a text column cannot hold."""
    return _NOT_STORABLE.sub("\ufffd", text)


@final
class TextError(ValidationError):
    """The error of a form or a model. Shows its text in the reader's language."""

    def __init__(self, text: Text) -> None:
        super().__init__(lazy(localized, str)(text))
        self.text = text

    def __reduce__(self) -> tuple[type[TextError], tuple[Text]]:
        return type(self), (self.text,)


def text_of(errors: Iterable[ValidationError]) -> Text:
    """Returns the texts of errors in one line."""
    texts = (
        error.text if isinstance(error, TextError) else " ".join(error.messages) for error in errors
    )
    return joined(texts, " ")


def _filled(
    english: str,
    values: Mapping[str, Value],
    as_text: Callable[[str], str],
    number: Callable[[float], str],
) -> str:
    if not values:
        return english
    texts = {
        name: as_text(value) if isinstance(value, str) else number(value)
        for name, value in values.items()
    }
    return english.format(**texts)


def _english_number(number: float) -> str:
    return f"{number:,}"
