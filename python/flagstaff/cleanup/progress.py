"""A progress bar on the standard error, if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]

_WIDTH = 30


@contextmanager
def progress_bar(total: int, *, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of things done since its last call.

    The bar is removed at the end.
    """
    stream = sys.stderr
    if hidden or total == 0 or stream is None or not stream.isatty():
        yield lambda _count: None
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        filled = _WIDTH * done // total
        stream.write(f"\r[{'#' * filled}{'.' * (_WIDTH - filled)}] {100 * done // total:3} %")
        stream.flush()

    try:
        yield advance
    finally:
        stream.write(f"\r{' ' * (_WIDTH + 8)}\r")
        stream.flush()
