"""Writes the first paragraph of each setting in its reference page, from the table of settings."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import fill

import django

from flagstaff.conf import all_settings

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
_WIDTH = 150


def written(page: str) -> str:
    """Returns the page with the first paragraphs that the table gives."""
    for name, setting in all_settings().items():
        fixed = "; fixed" if setting.fixed else ""
        text = f"{setting.doc}: {setting.expected}. Default `{setting.default!r}`{fixed}."
        paragraph = fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
        start = page.index(f"\n## {name}\n\n") + len(f"\n## {name}\n\n")
        page = page[:start] + paragraph + page[page.index("\n\n", start) :]
    return page


if __name__ == "__main__":
    # The optional apps have settings.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    PAGE.write_text(written(PAGE.read_text()))
