"""What a forked child does with descriptors after the end of its parent."""

from __future__ import annotations

import os
from contextlib import suppress

# More than a worker has open.
MANY = 256


def replace_descriptors() -> list[int]:
    """Closes everything that the parent has opened, as daemons do, and opens files instead."""
    os.closerange(3, MANY)
    return [os.open(os.devnull, os.O_RDONLY) for _ in range(3, MANY)]


def count_open(descriptors: list[int]) -> int:
    """The number of these descriptors that are open."""
    count = 0
    for descriptor in descriptors:
        with suppress(OSError):
            os.fstat(descriptor)
            count += 1
    return count
