"""Child processes that end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Loaded here, because a child between fork and exec should load nothing.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def ends_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """Returns a `preexec_fn` with which the kernel sends `by` to the child when its parent ends.

    For the kernel, the parent is the thread that started the child, so use a long-lived thread.
    Works only on Linux.
    """
    if _libc is None:
        return None
    prctl, signum = _libc.prctl, int(by)
    return lambda: prctl(_PR_SET_PDEATHSIG, signum)
