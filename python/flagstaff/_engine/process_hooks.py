"""Hooks for the start of a forked child and for the end of a process.

Python's own hooks are not enough: uWSGI forks without `os.register_at_fork`, and children of
multiprocessing and Celery end without `atexit`.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["call_after_fork", "call_at_exit", "call_at_exit_of_child"]

_registered_in: int | None = None


def call_after_fork(hook: Callable[[], None]) -> None:
    """Calls `hook` once in each process that is forked from this one, also by uWSGI."""
    called_in = os.getpid()

    def call_once() -> None:
        nonlocal called_in
        # uWSGI may call both hooks, and the child may start its engine between the two.
        if called_in != os.getpid():
            called_in = os.getpid()
            hook()

    os.register_at_fork(after_in_child=call_once)
    # Only uWSGI processes have this module.
    if uwsgi := sys.modules.get("uwsgi"):
        _set_uwsgi_hook(uwsgi, call_once)


def _set_uwsgi_hook(uwsgi: Any, hook: Callable[[], None]) -> None:
    try:
        # uWSGI has one hook. Its decorators share it between all callers, and would replace ours
        # if they were imported later.
        import_module("uwsgidecorators").postfork(hook)
    except Exception:  # noqa: BLE001 (raised if it is not installed, or without a master)
        earlier = getattr(uwsgi, "post_fork_hook", None)

        def both() -> None:
            if earlier is not None:
                earlier()
            hook()

        uwsgi.post_fork_hook = both


def call_at_exit(hook: Callable[[], None]) -> None:
    """Calls `hook` when the interpreter ends, in this process or in a forked child."""
    atexit.register(hook)


def call_at_exit_of_child(hook: Callable[[], None]) -> None:
    """Calls `hook` at the end of this process if it is a child of multiprocessing or of Celery.

    These children end by `os._exit`, which skips `atexit`. The hook may be called twice.
    """
    global _registered_in  # noqa: PLW0603 (each child has to register again)
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    processes = sys.modules.get("multiprocessing.process")
    if processes and processes.parent_process() and "multiprocessing.util" in sys.modules:
        # Registered in the child, because a child drops the finalizers of its parent.
        sys.modules["multiprocessing.util"].Finalize(None, hook, exitpriority=0)
    if signals := sys.modules.get("celery.signals"):
        # Celery sends this signal only in the children of its pool.
        signals.worker_process_shutdown.connect(
            lambda **_: hook(), weak=False, dispatch_uid="flagstaff"
        )
