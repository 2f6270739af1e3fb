"""A fault that can be switched on: the value `checkout_fault_percent`."""

from __future__ import annotations

import random

from flagstaff import get_value


class PlantedError(Exception):
    """The new checkout fails, because the value says so."""


def raise_planted_fault() -> None:
    """Raises PlantedError for the share of calls that the value gives. Other values are 0 %."""
    percent = get_value("checkout_fault_percent", default=0)
    if isinstance(percent, int) and random.random() * 100 < percent:  # noqa: S311 (a demo)
        raise PlantedError
