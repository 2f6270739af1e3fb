"""Runs the simulation: users, visits, orders, and finally the times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.utils.timezone import now

import flagstaff
from flagstaff.experiments import get_variant, peek_variant
from store.delivery import DELIVERIES
from store.experiments import CHECKOUT_BUTTON, LARGE_PHOTOS
from store.gateways import STRIPE
from store.models import Order
from store.simulation.shoppers import Purchase, Shopper, shoppers_of
from store.simulation.times import analyze, move_experiments, move_exposures, move_orders

__all__ = ["Simulated", "simulate"]

_PERIOD = timedelta(days=21)
_FLUSH_TIMEOUT = 30.0
_BATCH = 5000


@dataclass(frozen=True)
class Simulated:
    """What the simulation has written."""

    shoppers: int
    orders: int
    start: datetime


def simulate(count: int) -> Simulated:
    """Lets shoppers come to the running experiments, and moves all of it into the past three weeks.

    Closes the engine of the process, which writes the exposures. Raises RuntimeError if it cannot.
    """
    end = now().replace(minute=0, second=0, microsecond=0)
    start = end - _PERIOD
    shoppers = list(shoppers_of(count, start, end))
    users = _create_users(shoppers)
    variants = [_visit(user, one) for user, one in zip(users, shoppers, strict=True)]
    if not flagstaff.close(_FLUSH_TIMEOUT):
        raise RuntimeError("the exposures were not written in time")
    purchases = {
        shopper.pk: [one for one in (*shopper.before, *shopper.purchases(variant)) if one.at < end]
        for shopper, variant in zip(shoppers, variants, strict=True)
    }
    times = _create_orders(purchases.items())
    move_orders(times)
    move_exposures({str(shopper.pk): shopper.comes_at for shopper in shoppers})
    move_experiments([CHECKOUT_BUTTON, LARGE_PHOTOS], start)
    analyze()
    return Simulated(len(shoppers), len(times), start)


def _create_users(shoppers: Sequence[Shopper]) -> list[User]:
    unusable = make_password(None)
    users = [User(pk=one.pk, username=f"shopper{one.pk}", password=unusable) for one in shoppers]
    return User.objects.bulk_create(users, batch_size=_BATCH)


def _visit(user: User, shopper: Shopper) -> str | None:
    """Shows a shopper both experiments, as the pages do, and returns the variant of the button.

    The planted mistake: the page with large photos fails in an old browser before it records the
    shopper.
    """
    fails = shopper.has_old_browser and peek_variant(LARGE_PHOTOS, user) == "treatment"
    if not fails:
        get_variant(LARGE_PHOTOS, user)
    return get_variant(CHECKOUT_BUTTON, user, default="control")


def _create_orders(purchases: Iterable[tuple[int, Sequence[Purchase]]]) -> dict[UUID, datetime]:
    """Creates the orders, and returns their times by primary key."""
    orders = {}
    for customer, bought in purchases:
        for one in bought:
            orders[_order(customer, one)] = one.at
    Order.objects.bulk_create(orders, batch_size=_BATCH)
    return {order.pk: at for order, at in orders.items()}


def _order(customer: int, purchase: Purchase) -> Order:
    product, delivery = purchase.product, DELIVERIES["post"]
    return Order(
        customer_id=customer,
        name="A. Shopper",
        address="Harbour Street 7, Svolvær",
        lines=[
            {"text": product.name, "cents": product.cents},
            {"text": delivery.label, "cents": delivery.cents},
        ],
        cents=product.cents + delivery.cents,
        gateway=STRIPE.label,
        reference=f"{STRIPE.prefix}simulated",
        checkout="classic",
    )
