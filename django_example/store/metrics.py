"""What experiments measure: metrics from the orders that the shop has anyway."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet

from flagstaff.experiments.metrics import Conversion, Mean
from store.models import Order

WINDOW = timedelta(days=7)
#: A second order so soon after the first one is probably a mistake.
SOON = timedelta(minutes=10)


def _orders() -> QuerySet[Any, Any]:
    """The orders of users who were logged in: the experiments of the shop are by user."""
    rows = Order.objects.filter(customer__isnull=False)
    return rows.values(unit=F("customer_id"), time=F("created_at"))


def _revenue() -> QuerySet[Any, Any]:
    rows: QuerySet[Any, Any] = _orders().annotate(value=F("cents") / 100.0)
    return rows


def _double_orders() -> QuerySet[Any, Any]:
    earlier = Order.objects.filter(
        customer=OuterRef("customer"),
        created_at__lt=OuterRef("created_at"),
        created_at__gte=OuterRef("created_at") - SOON,
    )
    return _orders().filter(Exists(earlier))


orders = Conversion(_orders, window=WINDOW, description="users who order within a week")
revenue = Mean(
    _revenue,
    window=WINDOW,
    # What a user has spent before says much about what the user will spend.
    covariate=timedelta(days=28),
    description="euros per user within a week",
)
double_orders = Conversion(
    _double_orders,
    window=WINDOW,
    higher_is_better=False,
    description="users who order twice within ten minutes",
)
