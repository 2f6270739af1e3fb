"""The search through all files below some paths."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from os import PathLike
from pathlib import Path

from flagstaff.cleanup.references.model import Kind, Reference

__all__ = ["search"]

_CALL = re.compile(r"""\bflag_enabled\(\s*["']([^"']+)["']""")


def search(
    paths: Iterable[str | PathLike[str]], keys: Collection[str] | None = None
) -> Iterable[Reference]:
    """Yields the places that name one of `keys`, by default any key, sorted by file and line.

    A path is a file or a folder. Reads files only; makes no query.
    """
    for path in paths:
        for file in sorted(Path(path).rglob("*.py")):
            for reference in _in_file(file):
                if keys is None or reference.key in keys:
                    yield reference


def _in_file(file: Path) -> Iterator[Reference]:
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        for found in _CALL.finditer(line):
            yield Reference(
                str(file), number, found.start() + 1, Kind.EVALUATION, found[1], line.strip()
            )
