"""Sets limits of a worker at which it cannot start a thread or open a descriptor."""

from __future__ import annotations

import resource
import threading
from pathlib import Path
from typing import Any

from flagstaff import refresh
from flagstaff.exceptions import RefreshError
from tests.support import worker_process

# Bytes of the stack of a Rust thread.
STACK = 2 << 20
# More than an evaluation needs, and less than a stack.
SPARE = 1 << 20


def forbid_threads() -> None:
    """Lets no further thread start, because there is no memory for its stack."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + SPARE)


def allow_threads() -> None:
    """Lets threads start again."""
    _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def in_child_without_threads(commands: list[worker_process.Command]) -> list[Any]:
    """Runs commands in a forked child that can start no thread."""
    forbid = ["call", "tests.faults.process_limits.forbid_threads_in_child"]
    return worker_process.in_fork("os._exit", [forbid, *commands])[1:]


def forbid_threads_in_child() -> None:
    """Lets no further thread start, also not with the stacks that the parent's threads had."""
    forbid_threads()
    threading.stack_size(STACK)
    forever = threading.Event()
    try:
        while True:
            threading.Thread(target=forever.wait, daemon=True).start()
    except RuntimeError:
        return


def refresh_without_descriptors() -> str:
    """Returns the error of `refresh` in a process that can open no descriptor."""
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _limit(resource.RLIMIT_NOFILE, 0)
    try:
        refresh(0.2)
    except RefreshError as error:
        return str(error)
    finally:
        _limit(resource.RLIMIT_NOFILE, before)
    return "no error"


def _limit(kind: int, soft: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
