"""Reads the files of translations: the text that translators write, and what it is compiled to."""

import gettext
import re
from dataclasses import dataclass
from pathlib import Path

_KEYWORD = re.compile(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) "(.*)"$')


@dataclass(frozen=True)
class Message:
    """One message with its translations: one, or one for each plural form."""

    context: str
    text: str
    plural: str
    translated: tuple[str, ...]
    flags: frozenset[str]

    @property
    def key(self) -> str:
        """The name of the message in a compiled file."""
        return f"{self.context}\x04{self.text}" if self.context else self.text


def read_po(path: Path) -> list[Message]:
    """Returns the messages of a file, without its header and without obsolete ones."""
    return messages_in(path.read_text(encoding="utf-8"))


def messages_in(catalogue: str) -> list[Message]:
    """The same for the text of a file."""
    messages = [_message(block) for block in catalogue.split("\n\n")]
    return [message for message in messages if message.text]


def _message(block: str) -> Message:
    fields: dict[str, str] = {}
    flags: set[str] = set()
    name = ""
    for line in block.splitlines():
        if line.startswith("#,"):
            flags.update(flag.strip() for flag in line[2:].split(","))
        elif keyword := _KEYWORD.match(line):
            name, fields[keyword[1]] = keyword[1], keyword[2]
        elif line.startswith('"'):
            fields[name] += line[1:-1]
    texts = {field: _unescaped(text) for field, text in fields.items()}
    translated = tuple(text for field, text in texts.items() if field.startswith("msgstr"))
    context, text, plural = (texts.get(name, "") for name in ("msgctxt", "msgid", "msgid_plural"))
    return Message(context, text, plural, translated, frozenset(flags))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


def compiled(path: Path) -> dict[str | tuple[str, int], str]:
    """Returns the texts of a compiled file, without its header."""
    with path.open("rb") as file:
        catalogue: dict[str | tuple[str, int], str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in catalogue.items() if key}


def expected(messages: list[Message]) -> dict[str | tuple[str, int], str]:
    """Returns the texts that a compiled file of these messages has."""
    texts: dict[str | tuple[str, int], str] = {}
    for message in messages:
        if not all(message.translated) or "fuzzy" in message.flags:
            continue
        if message.plural:
            texts |= {(message.key, n): text for n, text in enumerate(message.translated)}
        else:
            texts[message.key] = message.translated[0]
    return texts
