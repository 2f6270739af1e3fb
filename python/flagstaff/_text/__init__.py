"""Texts for people, in English and in the reader's language; and short forms of long ones.

A sentence is said once, where something happens. Terminal, log and JSON use its English, and pages
show it in their language.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from difflib import get_close_matches
from html import escape
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, cast, final

from django.core.exceptions import ValidationError
from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.safestring import SafeString
from django.utils.translation import get_language, npgettext, pgettext

from flagstaff._core import json_problem

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

#: What can be filled in: names, counts, other sentences, and what has a text. Never a secret.
Value: TypeAlias = object

#: The context of all messages, so that none is taken from the catalogue of another package.
CONTEXT = "flagstaff"

#: The number of items that a text shows by default.
MAX_SHOWN = 10
#: The length of each value in a table or a text: JSON and CSV have the whole.
MAX_VALUE = 300
#: In place of a secret on pages, in the terminal and in exports. An import keeps the stored value.
MASK = "••••••"

_THOUSAND = 1_000
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_has_plain_numbers: ContextVar[bool] = ContextVar("flagstaff_plain_numbers", default=False)


@final
class Sentence(str):
    """What `say` returns: it knows its English and its values, so pages can translate it.

    As a text, it is its English. Templates and `format_html` show it in the reader's language, and
    escape all but values that are HTML. A text made from it, such as with an f-string, is plain:
    make it a value of another sentence.
    """

    __slots__ = ("english", "plural", "values")
    english: str
    plural: str
    values: Mapping[str, Value]

    def __new__(cls, english: str, plural: str = "", /, **values: Value) -> Sentence:
        """Raises KeyError if a value is missing that the English names, or `count` of a plural."""
        if isinstance(english, Sentence):
            values = {**english.values, **values}
            plural, english = english.plural, english.english
        # Most have no values, and a list says some for each row.
        form = _english_form(english, plural, values)
        text = _filled(form, values, str, _english_number) if values else form
        sentence = super().__new__(cls, text)
        sentence.english, sentence.plural, sentence.values = english, plural, values
        return sentence

    def __getnewargs_ex__(self) -> tuple[tuple[str, str], Mapping[str, Value]]:
        return (self.english, self.plural), self.values

    def __html__(self) -> SafeString:
        return self.html

    @property
    def local(self) -> str:
        """The text in the language that is active now."""
        form = self._local_form()
        return _filled(form, self.values, _local_text, local_number) if self.values else form

    @property
    def stored(self) -> str:
        """The English as tables keep it, with numbers as in JSON: any page may quote it."""
        form = _english_form(self.english, self.plural, self.values)
        return _filled(form, self.values, _stored_text, _plain_number)

    @property
    def html(self) -> SafeString:
        """The same as HTML. Escapes all but values that are HTML."""
        return SafeString(_filled(escape(self._local_form()), self.values, _html, local_number))

    def _local_form(self) -> str:
        if self.plural and self.values:
            count = cast("int", self.values["count"])
            return npgettext(CONTEXT, self.english, self.plural, count)
        return pgettext(CONTEXT, self.english)

    @property
    def lazy(self) -> _StrPromise:
        """The text in the language that is active when Django shows it: for names and labels."""
        return cast("_StrPromise", _lazily_localized(self))


def say(english: str, plural: str = "", /, **values: Value) -> Sentence:
    """Returns a sentence. Its English is the key in the catalogue, so write it out in the call.

    With a plural, the value `count` chooses the form. Numbers are shown with the separators of the
    language: pass a version or a primary key as text. Without values, braces are not special, and
    the sentence can be filled in later: `say(sentence, **values)`.

    >>> say("step {number}: rollout {old} → {new} %", number=2, old=5, new=25)
    'step 2: rollout 5 → 25 %'
    >>> say("{count} user", "{count} users", count=1_000)
    '1,000 users'
    """
    return Sentence(english, plural, **values)


def localized(text: str) -> str:
    """Returns a text in the active language. Plain ones are unchanged.

    >>> localized("a plain text")
    'a plain text'
    """
    return text.local if isinstance(text, Sentence) else text


_lazily_localized = lazy(localized, str)


def as_stored(text: str) -> str:
    """Returns a text as tables keep it: `Sentence.stored`. Plain ones are unchanged.

    >>> as_stored(say("{count} user", "{count} users", count=1_000))
    '1000 users'
    """
    return text.stored if isinstance(text, Sentence) else text


@final
class StoredText(str):
    """An English text of a table as a value of a sentence: pages of other languages quote it."""

    __slots__ = ()

    @property
    def local(self) -> str:
        """The text, in quotation marks if the active language is another one."""
        return str(self) if _is_english() else quoted(self)

    def __html__(self) -> str:
        if _is_english():
            return escape(str(self))
        marked = SafeString(f'<span lang="en">{escape(str(self))}</span>')
        return say("“{text}”", text=marked).html


def _is_english() -> bool:
    return (get_language() or "en").partition("-")[0] == "en"


@contextmanager
def plain_numbers() -> Iterator[None]:
    """Writes numbers in texts of the active language as `Sentence.stored` does.

    For texts that are stored, and made of others in the active language.
    """
    token = _has_plain_numbers.set(True)
    try:
        yield
    finally:
        _has_plain_numbers.reset(token)


def joined(texts: Iterable[str], separator: str = ", ") -> Sentence:
    """Returns texts as one. Its values are the texts.

    >>> joined(["beta", "staff"])
    'beta, staff'
    """
    parts = {f"part_{number}": text for number, text in enumerate(texts)}
    return say(separator.join(f"{{{name}}}" for name in parts), **parts)


def some(
    items: Iterable[object],
    limit: int = MAX_SHOWN,
    *,
    total: int | None = None,
    separator: str = ", ",
) -> Sentence:
    """Returns the first `limit` items, then "and 3 more" if there are more.

    `total` is the number of all items if `items` has only the first ones.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    texts = [item if isinstance(item, str) else str(item) for item in items]
    others = (len(texts) if total is None else total) - min(len(texts), limit)
    shown = joined(texts[:limit], separator)
    return say("{items} and {others} more", items=shown, others=others) if others > 0 else shown


def local_list(items: Iterable[object], limit: int = MAX_SHOWN, *, total: int | None = None) -> str:
    """Returns the same in the active language."""
    texts = [*items]
    # Most lists are short, and a page has one in each row.
    if total is None and len(texts) <= limit:
        return ", ".join(map(_local_text, texts))
    return localized(some(texts, limit, total=total))


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
    return say("{text}… ({count} more characters)", text=beginning, count=count)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns the number with its noun in English. `plural` is by default the noun with an "s".

    >>> counted(1, "user"), counted(1_000, "user"), counted(2, "entry", "entries")
    ('1 user', '1,000 users', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def local_number(number: float | Decimal) -> str:
    """Returns the number with the thousand separators of the language; English without one."""
    # A list has thousands of these, which have no separators.
    if isinstance(number, int) and abs(number) < _THOUSAND:
        return str(number)
    if _has_plain_numbers.get():
        return _plain_number(number)
    if get_language() is None:
        return _english_number(number)
    return number_format(Decimal(str(number)), use_l10n=True, force_grouping=True)


def quoted(text: object) -> str:
    """Returns a key or a name in the quotation marks of the language."""
    return say("“{text}”", text=str(text)).local


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


def storable(text: str) -> str:
    """Returns the text with a replacement character for each that a text column cannot hold."""
    return _NOT_STORABLE.sub("\ufffd", text)


@final
class TextError(ValidationError):
    """The error of a form or a model. Shows its text in the reader's language."""

    def __init__(self, text: Sentence) -> None:
        super().__init__(text.lazy)
        self.text = text

    def __reduce__(self) -> tuple[type[TextError], tuple[Sentence]]:
        return type(self), (self.text,)


def text_of(errors: Iterable[ValidationError]) -> Sentence:
    """Returns the texts of errors in one line."""
    texts = (
        error.text if isinstance(error, TextError) else " ".join(error.messages) for error in errors
    )
    return joined(texts, " ")


def _english_form(english: str, plural: str, values: Mapping[str, Value]) -> str:
    return plural if plural and values and values["count"] != 1 else english


def _filled(
    form: str,
    values: Mapping[str, Value],
    as_text: Callable[[Any], str],
    number: Callable[[float], str],
) -> str:
    if not values:
        return form
    texts = {
        name: number(value)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else as_text(value)
        for name, value in values.items()
    }
    return form.format(**texts)


def _html(value: object) -> str:
    return value.__html__() if hasattr(value, "__html__") else escape(str(value))


def _local_text(value: object) -> str:
    # Sentences have another text on pages, and so have times.
    return str(getattr(value, "local", value))


def _stored_text(value: object) -> str:
    return as_stored(value) if isinstance(value, str) else str(value)


def _plain_number(number: float | Decimal) -> str:
    # Without an exponent, also of a small float.
    return f"{Decimal(str(number)):f}"


def _english_number(number: float | Decimal) -> str:
    return f"{Decimal(str(number)):,f}"


def most_similar(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the known name that is most similar; None if none is. Ignores case.

    `cutoff` is the least similarity, from 0 to 1. Of names that differ only in case, the first
    counts.

    >>> most_similar("Chekout", ["checkout", "search"])
    'checkout'
    """
    by_folded: dict[str, str] = {}
    for other in names:
        by_folded.setdefault(other.casefold(), other)
    nearest = get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[nearest[0]] if nearest else None


# JSON that people write, and JSON of the database.


# The length of a name in a message.
_MAX_NAME = 80


class ExactNumber(float):
    """A number of the history. Its repr has all digits, so numbers can be compared by it."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> ExactNumber:  # noqa: PYI034 (Python 3.10 has no Self)
        """Takes the text of the database."""
        self = super().__new__(cls, text)
        self._text = text
        return self

    def __repr__(self) -> str:
        return self._text


class ExactDecoder(json.JSONDecoder):
    """Reads numbers with a point as ExactNumber."""

    def __init__(self, **options: Any) -> None:
        super().__init__(parse_float=ExactNumber, **options)


class DuplicateNameError(ValueError):
    """An object in a JSON text has a name twice. `json.loads` would drop all but the last one."""

    def __init__(self, name: str) -> None:
        #: The name in quotes, truncated.
        self.name = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
        super().__init__(f"an object has the name {self.name} twice")


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text that a person has written. Raises ValueError.

    DuplicateNameError, which is a ValueError, contains a part of the text.
    """
    if problem := why_undecodable(text):
        raise ValueError(f"it {problem}")
    return json.loads(text, object_pairs_hook=object_of_pairs)


def scalar_of(text: str) -> object:
    """Returns the JSON scalar that a text is, such as 5 or true, or else the text."""
    try:
        value = parse_json(text)
    except ValueError:
        return text
    # Python also reads NaN and Infinity, which are not JSON.
    is_scalar = not isinstance(value, list | dict | float) or (
        isinstance(value, float) and isfinite(value)
    )
    return value if is_scalar else text


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the object of these names and values. Raises DuplicateNameError."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise DuplicateNameError(name)
        members[name] = value
    return members


def read_exactly(text: str) -> Any:
    """Returns the value of a JSON text of the history. Numbers with a point are ExactNumber."""
    return json.loads(text, cls=ExactDecoder)


def canonical_json(value: object, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON, whatever the order of its keys.

    Raises TypeError or ValueError if JSON cannot hold the value, or NaN and Infinity unless they
    are allowed.
    """
    plain = json.loads(json.dumps(value), parse_float=_as_postgres_reads)
    return json.dumps(plain, sort_keys=True, allow_nan=allow_nan)


def is_same_json(left: object, right: object) -> bool:
    """Whether both are the same JSON: in Python, True equals 1 and 1 equals 1.0.

    False if JSON cannot hold one of them.
    """
    try:
        return canonical_json(left) == canonical_json(right)
    except (TypeError, ValueError, RecursionError):
        return False


def _as_postgres_reads(text: str) -> int | float:
    """A number as PostgreSQL returns it: 1e16 as an integer, and zero without its sign."""
    number = float(text)
    if not number:
        return 0.0
    return int(Decimal(text)) if isfinite(number) and "e+" in repr(number) else number


def why_undecodable(text: str) -> Sentence | None:
    """Returns why Python cannot decode a JSON text, whatever its syntax; None if it can.

    `json.loads` raises RecursionError for deep nesting.
    """
    # Rust accepts no half of a surrogate pair.
    return json_problem(text.encode(errors="replace").decode())
