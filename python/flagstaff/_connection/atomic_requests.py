"""Views that run without the transactions of ATOMIC_REQUESTS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections, transaction

_View = TypeVar("_View", bound=Callable[..., Any])


def outside_transactions(view: _View) -> _View:
    """Marks `view`, and returns it: no database opens a transaction for it. Opens no connection."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
