"""Warnings about the project's code, each logged once per process."""

from __future__ import annotations

import traceback

from flagstaff._engine.status_log import logger

__all__ = ["after_fork", "is_logged", "log_once", "place_of"]

# Code may build names from user input, so their number has no limit of its own.
_MAX_LOGGED = 1000

_logged: set[tuple[str, str]] = set()


def log_once(kind: str, name: str, message: str) -> None:
    """Logs a warning unless one of this kind and name has been logged."""
    if not is_logged(kind, name) and len(_logged) < _MAX_LOGGED:
        _logged.add((kind, name))
        logger.warning(message)


def is_logged(kind: str, name: str) -> bool:
    """Whether a warning of this kind and name has been logged."""
    return (kind, name) in _logged


def place_of(error: Exception) -> str:
    """Returns the type of an error and where it was raised. Its text may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def after_fork() -> None:
    """Resets a forked child, which has logged nothing yet."""
    _logged.clear()
