"""The code in the pages of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCS", "code_of"]

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def code_of(page: str, language: str, having: str = "") -> list[str]:
    """Returns the blocks of a page in one language that contain `having`."""
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [code for code in block.findall((DOCS / page).read_text()) if having in code]
