"""Parts of a page that may fail: the page must work without their tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.db import connections, transaction

from flagstaff.conf import conf

_Shown = TypeVar("_Shown")

logger = logging.getLogger("flagstaff")


def attempt(problem: str, show: Callable[[], _Shown], instead: _Shown) -> _Shown:
    """Returns what `show` returns. If it fails, logs the problem and returns `instead`."""
    database = conf.database
    # A query that fails must not end the surrounding transaction.
    is_in_block = connections[database].in_atomic_block
    try:
        with transaction.atomic(using=database) if is_in_block else nullcontext():
            return show()
    except Exception:
        logger.exception("%s", problem)
        return instead
