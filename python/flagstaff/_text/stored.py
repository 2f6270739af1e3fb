"""English texts that are stored, such as those of events, read back as sentences.

The database has only the English of a sentence, which is its key in the catalogue. So a text is
compared with the messages of the catalogue, and pages show it in their language. This also reads
what an older release has stored. What no message has made stays as it is, such as the words of a
person, and of a function of the project. The English of what is read is the stored text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from string import Formatter
from struct import unpack_from

from flagstaff._text import CONTEXT, joined, say
from flagstaff._text.times import StoredTime

_CATALOGUES = "locale/*/LC_MESSAGES/django.mo"
# A longer text is of a person or of a program.
_MAX_LENGTH = 400
# A message with fewer, such as "by {actor}", may be a part of any text.
_MIN_LETTERS = 6
# In other places, a single word may be a key or a name.
_FIELDS_OF_WORDS = {"state", "setting"}
# Of lists and sentences, and between the units of a duration.
_SEPARATORS = [
    re.compile(f"({text})") for text in ("; ", ", ", ": ", r"(?<=\.) ", r" (?=\d+ (?:h|min|s)$)")
]
_WHOLE_NUMBER = re.compile(r"\d{1,3}(,\d{3})*")
_NUMBER = re.compile(r"-?\d[\d.,]*")


def read_back(text: str) -> str:
    """Returns a stored English text as the sentence that it was, or unchanged.

    >>> read_back("rolled back: rollout 0 %").values
    {'what': 'rollout 0 %'}
    """
    return text if len(text) > _MAX_LENGTH else _read(text).text


@dataclass(frozen=True)
class _Part:
    """What a text, or a part of it, may have been."""

    text: str
    value: object
    #: How many letters of it are of messages.
    letters: int = 0
    #: Whether all others are of numbers and times.
    is_complete: bool = False


@lru_cache(maxsize=4_096)
def _read(text: str, field: str = "") -> _Part:
    """Returns what explains most of a text, which was the value of this field of a message."""
    if StoredTime.is_one(text):
        return _Part(text, StoredTime(text), is_complete=True)
    if _NUMBER.fullmatch(text):
        is_count = field == "count" or ("," in text and _WHOLE_NUMBER.fullmatch(text))
        return _Part(text, int(text.replace(",", "")) if is_count else text, is_complete=True)
    parts = [_Part(text, text)]
    if " " in text or field in _FIELDS_OF_WORDS:
        parts += [*_as_message(text), *_as_list(text)]
    return max(parts, key=lambda part: (part.letters, part.is_complete))


def _as_message(text: str) -> Iterator[_Part]:
    messages = _messages()
    for message in (*messages.get(_first_word(text), ()), *messages[""]):
        if (texts := message.values_in(text)) is None:
            continue
        values = {name: _read(value, name) for name, value in texts.items()}
        letters = message.letters + sum(part.letters for part in values.values())
        is_complete = all(part.is_complete for part in values.values())
        if is_complete or letters >= _MIN_LETTERS:
            sentence = message.filled({name: part.value for name, part in values.items()})
            if sentence == text:
                yield _Part(sentence, sentence, letters, is_complete)


def _as_list(text: str) -> Iterator[_Part]:
    for separator in _SEPARATORS:
        first, *others = separator.split(text, maxsplit=1)
        if others:
            parts = [_read(first), _read(others[1])]
            sentence = joined([part.value for part in parts], others[0])
            letters = sum(part.letters for part in parts)
            yield _Part(sentence, sentence, letters, all(part.is_complete for part in parts))


@dataclass(frozen=True)
class _Message:
    """A message of the catalogue in one of its English forms."""

    english: str
    plural: str
    is_plural: bool
    #: The text before the first field.
    start: str
    #: Each field, and the text after it.
    fields: tuple[tuple[str, str], ...]
    #: How many letters are of the message itself.
    letters: int

    def values_in(self, text: str) -> Mapping[str, str] | None:
        """Returns the text of each field; None if this message has not made the text."""
        if not self.fields or not text.startswith(self.start):
            return {} if text == self.start else None
        values, begin = dict[str, str](), len(self.start)
        *fields, (last, ending) = self.fields
        for name, following in fields:
            end = text.find(following, begin + 1)
            if end < 0:
                return None
            values[name], begin = text[begin:end], end + len(following)
        end = len(text) - len(ending)
        values[last] = text[begin:end]
        return values if begin < end and text.endswith(ending) else None

    def filled(self, values: Mapping[str, object]) -> str:
        """Returns the sentence with these values."""
        if self.plural:
            count = values.get("count", 1)
            # The other form has made it, or no number.
            if not isinstance(count, int) or self.is_plural is (count == 1):
                return ""
            values = {**values, "count": count}
        return say(self.english, self.plural, **values)


@cache
def _messages() -> Mapping[str, Sequence[_Message]]:
    """Returns the messages of the catalogues by their first word; "" for those without a whole one.

    Most have one, so few are compared with a text.
    """
    texts = {
        text for path in Path(__file__).parents[1].glob(_CATALOGUES) for text in _keys_of(path)
    }
    messages = defaultdict[str, list[_Message]](list)
    for text in sorted(texts):
        english, _null, plural = text.partition("\0")
        for form in (english, plural):
            if form and (message := _message(english, plural, form)):
                messages[_first_word(message.start)].append(message)
    return messages


def _first_word(text: str) -> str:
    word, blank, _others = text.partition(" ")
    return word if blank else ""


def _keys_of(path: Path) -> Iterator[str]:
    """Yields the English of each message of a compiled catalogue, with its plural after a null."""
    content, context = path.read_bytes(), f"{CONTEXT}\4"
    order = "<" if content.startswith(b"\xde") else ">"
    count, table = unpack_from(f"{order}2I", content, 8)
    for number in range(count):
        length, begin = unpack_from(f"{order}2I", content, table + 8 * number)
        key = content[begin : begin + length].decode()
        if key.startswith(context):
            yield key.removeprefix(context)


def _message(english: str, plural: str, form: str) -> _Message | None:
    """Returns a form of a message; None without words, or if its fields cannot be told apart."""
    try:
        pieces = [(text, name) for text, name, _spec, _conversion in Formatter().parse(form)]
    except ValueError:
        # Braces of a message without values are not special.
        pieces = [(form, None)]
    names = [name for _text, name in pieces if name is not None]
    following = [text for text, _name in pieces[1:]]
    following += [""] * (len(names) - len(following))
    letters = sum(map(str.isalpha, "".join(text for text, _name in pieces)))
    is_of_message = letters or not _FIELDS_OF_WORDS.isdisjoint(names)
    is_clear = all(map(str.isidentifier, names)) and "" not in following[: len(names) - 1]
    if not (is_of_message and is_clear):
        return None
    return _Message(
        english,
        plural,
        form == plural,
        pieces[0][0],
        tuple(zip(names, following, strict=True)),
        letters,
    )
