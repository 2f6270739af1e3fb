"""Being told of a fork in the child: by Python, and by uWSGI, which mostly does not tell Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["call_in_children"]


def call_in_children(tell: Callable[[], None]) -> None:
    """Have `tell` called once in each process that is forked from this one, by whatever forks."""
    told_in = os.getpid()

    def tell_once() -> None:
        nonlocal told_in
        # uWSGI may call both hooks, and between them the child may have begun something.
        if told_in != os.getpid():
            told_in = os.getpid()
            tell()

    os.register_at_fork(after_in_child=tell_once)
    # A module that uWSGI makes in its processes, and nobody else anywhere.
    if uwsgi := sys.modules.get("uwsgi"):
        _have_uwsgi_call(uwsgi, tell_once)


def _have_uwsgi_call(uwsgi: Any, tell: Callable[[], None]) -> None:
    try:
        # It has room for one hook. Its own decorators take that for all that they know of, and
        # would take it from us if they were imported later.
        import_module("uwsgidecorators").postfork(tell)
    except Exception:  # noqa: BLE001 (its word for "not installed" and for "there is no master")
        earlier = getattr(uwsgi, "post_fork_hook", None)

        def hook() -> None:
            if earlier is not None:
                earlier()
            tell()

        uwsgi.post_fork_hook = hook
