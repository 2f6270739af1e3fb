"""The pictures of the documentation are made by `make pictures`, and none is left over."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tools.pictures import DIRECTORY, PICTURES


def test_script_makes_every_picture_that_a_page_shows() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {
        name for page in pages for name in re.findall(r"images/([\w-]+)\.png", page.read_text())
    }
    assert shown == set(PICTURES)
    assert {path.stem for path in DIRECTORY.iterdir()} == set(PICTURES)
