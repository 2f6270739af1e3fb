"""Parts of a page that may fail: the page must work without their tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.db import connections, transaction

from flagstaff.conf import conf

_Value = TypeVar("_Value")

logger = logging.getLogger("flagstaff")


def value_or_default(problem: str, compute: Callable[[], _Value], default: _Value) -> _Value:
    """Returns what `compute` returns. If it fails, logs the problem and returns `default`."""
    database = conf.database
    # A query that fails must not end the surrounding transaction.
    is_in_block = connections[database].in_atomic_block
    try:
        with transaction.atomic(using=database) if is_in_block else nullcontext():
            return compute()
    except Exception:
        logger.exception("%s", problem)
        return default
