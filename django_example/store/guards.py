"""A guard of the shop: `flags plan start new_checkout --guard function=store.guards.orders`."""

from __future__ import annotations

from datetime import timedelta

from django.utils.timezone import now

from flagstaff.rollouts.models import Plan
from store.models import Order

MIN_ORDERS = 3


def orders(plan: Plan) -> bool | str:
    """Returns True if the shop sells as usual, or what is wrong. A text stops the plan."""
    count = Order.objects.filter(created_at__gte=now() - timedelta(minutes=1)).count()
    return count >= MIN_ORDERS or f"only {count} orders in the last minute"
