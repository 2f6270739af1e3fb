"""Translations that exist during a test only, beside those of the package."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.utils.translation import override, trans_real

from flagstaff._text import CONTEXT
from tests.support.po_files import messages_in


@contextmanager
def german(texts: Mapping[Any, str]) -> Iterator[None]:
    """Activates German with these additional translations of sentences of flagstaff.

    The key is the English, or the singular with the number of its plural form.
    """
    context = f"{CONTEXT}\x04"
    with german_catalogue(
        {
            context + key if isinstance(key, str) else (context + key[0], key[1]): text
            for key, text in texts.items()
        }
    ):
        yield


@contextmanager
def german_catalogue(texts: Mapping[Any, str]) -> Iterator[None]:
    """Activates German with these entries of a compiled catalogue."""
    catalog = trans_real.translation("de")._catalog  # type: ignore[attr-defined]
    with patch.dict(catalog._catalogs[0], texts), override("de"):
        yield


def entries(catalogue: str) -> set[tuple[str, str, str]]:
    """Returns context, message and plural of each entry of a catalogue."""
    return {(message.context, message.text, message.plural) for message in messages_in(catalogue)}
