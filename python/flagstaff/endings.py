"""Being told of the end of a process: by Python, and by those who end a child without it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["call_at_end", "call_at_end_of_child"]

_told_in: int | None = None


def call_at_end(tell: Callable[[], None]) -> None:
    """Have `tell` called at the end of the interpreter, in this process or a child of it."""
    atexit.register(tell)


def call_at_end_of_child(tell: Callable[[], None]) -> None:
    """Have it called where this is a child of multiprocessing or of Celery's pool.

    They end by `os._exit`, which calls nothing that `atexit` knows. It may be called twice.
    """
    global _told_in  # noqa: PLW0603 (a child has to ask anew)
    if _told_in == os.getpid():
        return
    _told_in = os.getpid()
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes and processes.parent_process() and "multiprocessing.util" in sys.modules:
        # Only now: a child forgets what its parent had asked for.
        sys.modules["multiprocessing.util"].Finalize(None, tell, exitpriority=0)
    if signals := sys.modules.get("celery.signals"):
        # Sent by the children of the pool alone.
        signals.worker_process_shutdown.connect(
            lambda **_: tell(), weak=False, dispatch_uid="flagstaff"
        )
