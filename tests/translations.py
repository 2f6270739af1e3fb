"""Translations that exist during a test only: flagstaff itself has no catalogues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

from django.utils.translation import override, trans_real

__all__ = ["german"]


@contextmanager
def german(texts: Mapping[str, str]) -> Iterator[None]:
    """Activates German with these additional translations."""
    catalog = trans_real.translation("de")._catalog  # type: ignore[attr-defined]
    with patch.dict(catalog._catalogs[0], texts), override("de"):
        yield
