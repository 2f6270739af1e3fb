"""A guard of a project, which returns or raises what a test sets."""

from typing import Any

from flagstaff.rollouts.models import Plan

__all__ = ["ORDERS_FINE", "RETURNED", "orders_fine", "returned"]

#: What the guard returns or raises.
returned: Any = True


def orders_fine(plan: Plan) -> object:
    if isinstance(returned, Exception):
        raise returned
    return returned


#: The path of the guard, and what monkeypatch replaces.
ORDERS_FINE, RETURNED = f"{__name__}.orders_fine", f"{__name__}.returned"
