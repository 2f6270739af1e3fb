"""Children that do not outlive us, whatever ends us."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Loaded here, because a child between fork and exec should load nothing.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def ends_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send `by` to the child when its parent is gone.

    The parent, for the kernel, is the thread that started the child: start it from one that stays.
    Only Linux can do this.
    """
    if _libc is None:
        return None
    prctl, signum = _libc.prctl, int(by)
    return lambda: prctl(_PR_SET_PDEATHSIG, signum)
