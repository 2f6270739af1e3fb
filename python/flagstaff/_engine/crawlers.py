"""Runs the function in FLAGSTAFF["IS_CRAWLER"]."""

from __future__ import annotations

from inspect import iscoroutine

from django.utils.module_loading import import_string

from flagstaff._engine.log_once import log_once, place_of
from flagstaff.conf import conf

__all__ = ["names_crawler"]


def names_crawler(request: object) -> bool:
    """Returns whether the function says that the request is of a crawler. False if it fails."""
    path = str(conf.is_crawler)
    try:
        found = import_string(path)(request)
    except Exception as error:
        if isinstance(error, RecursionError | MemoryError):
            raise
        _log(path, f"raised {place_of(error)}")
        return False
    if iscoroutine(found):
        found.close()
    if not isinstance(found, bool):
        _log(path, f"returned a {type(found).__name__}, not True or False")
        return False
    return found


def _log(path: str, problem: str) -> None:
    log_once(
        "crawler", problem, f"{path} in IS_CRAWLER {problem}; the request counts as no crawler"
    )
