"""Translations that exist during a test only, beside those of the package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

from django.utils.translation import override, trans_real

from tools.messages import POT

__all__ = ["capitals", "entries", "german"]

_ENTRY = re.compile(
    r'(?:^msgctxt "(.*)"\n)?^msgid "(.+)"\n(?:msgid_plural "(.*)"\n)?', re.MULTILINE
)


@contextmanager
def german(texts: Mapping[Any, str]) -> Iterator[None]:
    r"""Activates German with these additional translations.

    The key is the message: after its context and "\x04", or with the number of its plural form.
    """
    catalog = trans_real.translation("de")._catalog  # type: ignore[attr-defined]
    with patch.dict(catalog._catalogs[0], texts), override("de"):
        yield


@contextmanager
def capitals() -> Iterator[None]:
    """Activates German with a translation of each message of flagstaff: itself, in capitals."""
    texts: dict[Any, str] = {}
    for context, message, plural in entries(POT.read_text()):
        key = f"{context}\x04{message}" if context else message
        if plural:
            texts |= {(key, 0): _capitals(message), (key, 1): _capitals(plural)}
        else:
            texts[key] = _capitals(message)
    with german(texts):
        yield


def _capitals(message: str) -> str:
    placeholders = re.compile(r"(%\(\w+\)[sd]|\{\w+\})")
    parts = placeholders.split(message)
    return "".join(part if placeholders.match(part) else part.upper() for part in parts)


def entries(catalogue: str) -> set[tuple[str, str, str]]:
    """Returns context, message and plural of each entry of a catalogue."""
    found = _ENTRY.findall(catalogue)
    return {cast("tuple[str, str, str]", tuple(map(_unescaped, entry))) for entry in found}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)
