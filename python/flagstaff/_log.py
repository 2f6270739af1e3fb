"""Warnings about the project's code and its database, which do not fill the log."""

from __future__ import annotations

import logging

from flagstaff._core import monotonic

logger = logging.getLogger("flagstaff")

# Code may build names from user input, so their number has no limit of its own.
_MAX_LOGGED = 1000

_SECONDS = 60

_logged: set[tuple[str, str]] = set()
_logged_at: dict[str, float] = {}


def log_once(kind: str, name: str, message: str) -> None:
    """Logs a warning unless one of this kind and name has been logged."""
    if (kind, name) not in _logged and len(_logged) < _MAX_LOGGED:
        _logged.add((kind, name))
        logger.warning(message)


def log_each_minute(kind: str, message: str) -> None:
    """Logs a warning unless one of this kind was logged in the last minute."""
    now = monotonic()
    if now - _logged_at.get(kind, -_SECONDS) >= _SECONDS:
        _logged_at[kind] = now
        logger.warning(message)


def report_listener(listener: object, error: Exception) -> None:
    """Logs that a listener has raised, once for each listener."""
    # A method of a built-in type has no module.
    module = getattr(listener, "__module__", None) or "builtins"
    name = f"{module}.{getattr(listener, '__qualname__', type(listener).__name__)}"
    message = f"the listener {name} has raised {place_of(error)}; its next errors are not logged"
    log_once("listener", name, message)


def place_of(error: Exception) -> str:
    """Returns the type of an error and where it was raised. Its text may hold personal data."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = f" in {last.tb_frame.f_code.co_filename}, line {last.tb_lineno}" if last else ""
    return f"{type(error).__name__}{place}"


def after_fork() -> None:
    """Resets a forked child, which has logged nothing yet."""
    _logged.clear()
    _logged_at.clear()
