"""Plants files into a copy: references of many forms, and text that only looks like one.

The end of a line of `planted/` says what stands in it, and is removed:

    flag_enabled("a")  # expect: evaluation a
    flag_enabled(      # expect+2: evaluation a      (this line and the next two)
    flag_enabled(key)  # expect?: dynamic *|any      (may be reported or not, with any key)

`*` is a key that is built at run time. Lines without this must have no reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools.reference_accuracy.truth import ANY, Place

__all__ = ["FOLDER", "plant", "unmarked"]

#: The folder in the copy.
FOLDER = "planted_shop"
_SOURCE = Path(__file__).parent / "planted"
_MARK = re.compile(r"\s*(?:#|\{#) expect(?:\+(\d+))?(\?)?: (.*?)(?: #\})?$", re.MULTILINE)


def plant(root: Path) -> list[Place]:
    """Writes the files below `root`, and returns their places."""
    places: list[Place] = []
    for source in sorted(_SOURCE.rglob("*.txt")):
        path = Path(FOLDER, source.relative_to(_SOURCE).with_suffix(""))
        text, found = unmarked(source.read_text(), path.as_posix())
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        places += found
    for package in ("", "tests"):
        (root / FOLDER / package / "__init__.py").touch()
    return places


def unmarked(text: str, path: str) -> tuple[str, list[Place]]:
    """Returns the text without its marks, and the places that they describe."""
    places = [
        place
        for number, line in enumerate(text.splitlines(), start=1)
        for mark in _MARK.finditer(line)
        for place in _places(mark, path, number)
    ]
    return _MARK.sub("", text), places


def _places(mark: re.Match[str], path: str, line: int) -> Iterator[Place]:
    last = line + int(mark[1] or 0)
    for one in mark[3].split("; "):
        kind, _, keys = one.partition(" ")
        key, *also = (None if k == "*" else k for k in keys.split("|"))
        others = frozenset(ANY if k == "any" else k for k in also)
        yield Place(path, line, last, kind, key, others, optional=mark[2] == "?")
