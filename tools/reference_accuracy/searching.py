"""Runs the search on a copy."""

from __future__ import annotations

import time
from pathlib import Path

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.searching import search_files
from tools.reference_accuracy.comparing import Find

__all__ = ["finds_in"]


def finds_in(root: Path) -> tuple[list[Find], float]:
    """Returns all references below a folder, and the seconds that the search took."""
    started = time.monotonic()
    references = search_files(searched_files([root]), others=("waffle",)).references
    found = [
        Find(
            Path(one.path).relative_to(root).as_posix(), one.line, str(one.kind), one.key, one.code
        )
        for one in references
    ]
    return found, time.monotonic() - started
