"""The code on a page of the docs, to be run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["blocks", "page"]

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
