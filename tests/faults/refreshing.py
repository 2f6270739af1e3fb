"""Refreshes in a worker whose server does not answer."""

from __future__ import annotations

from contextlib import suppress

import flagstaff
from flagstaff.exceptions import RefreshError


def refresh_in_vain(calls: int, timeout: float) -> None:
    """Calls `refresh`, which fails each time."""
    for _ in range(calls):
        with suppress(RefreshError):
            flagstaff.refresh(timeout)
            raise AssertionError("the server has answered")
