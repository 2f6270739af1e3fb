"""Translations that exist during a test only, beside those of the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.utils.translation import override, trans_real

from tests.support.po_files import messages_in


@contextmanager
def german(texts: Mapping[Any, str]) -> Iterator[None]:
    r"""Activates German with these additional translations.

    The key is the message: after its context and "\x04", or with the number of its plural form.
    """
    catalog = trans_real.translation("de")._catalog  # type: ignore[attr-defined]
    with patch.dict(catalog._catalogs[0], texts), override("de"):
        yield


def entries(catalogue: str) -> set[tuple[str, str, str]]:
    """Returns context, message and plural of each entry of a catalogue."""
    return {(one.context, one.text, one.plural) for one in messages_in(catalogue)}
