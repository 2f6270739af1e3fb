"""Simulated shoppers, who show what the report of an experiment says after three weeks.

The shoppers get their variants from the real `get_variant`, which records them as in a web request,
and their orders are rows of the shop. Two things are not real:

- What they do is planted: 10 % of them buy, and with the button of the treatment 13 %.
- The times are invented. A metric waits a week for each user and a verdict needs a week, so the
  exposures, the orders and the start of the experiment are moved into the past three weeks, with
  SQL. Never do this in a shop with real users.

The shoppers, their times and their orders are the same in each run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection, models
from django.utils.timezone import now

import flagstaff
from flagstaff.experiments import get_variant
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from store.flags import CHECKOUT_BUTTON
from store.gateways import GATEWAYS
from store.models import Order
from store.products import PRODUCTS, Product

CONVERSION, LIFT = 0.10, 1.3
#: Above the keys of the sample data, and always the same: the key decides the variant.
FIRST_PK = 100_000
_PERIOD = timedelta(days=21)
_FLUSH_TIMEOUT = 30.0
_BATCH = 5000
# Half of the shoppers are regulars. On average, both factors are 1.
_REGULAR, _NEW = 1.5, 0.5
_DOUBLE_ORDERS = 0.08
_MONTH = timedelta(days=27)
# Most shoppers buy on the day of their visit.
_MEAN_DELAY_HOURS = 8
_LONGEST_DELAY = timedelta(days=6)
_FEW_MINUTES = timedelta(minutes=3)


@dataclass(frozen=True)
class Shopper:
    """A simulated user."""

    pk: int
    comes_at: datetime
    #: Always the same thing, so what was spent before predicts what is spent now.
    product: Product
    #: When the shopper has bought it before the experiment.
    before: tuple[datetime, ...]
    #: When a shopper who buys buys it: rarely twice.
    buys_at: tuple[datetime, ...]
    #: The chance to buy with the control.
    chance: float
    #: Decides whether the shopper buys: a number from 0 to 1 that is the same for all variants.
    draw: float

    def purchases(self, variant: str | None) -> tuple[datetime, ...]:
        """Returns when the shopper buys after meeting this variant of the button."""
        lift = LIFT if variant == "treatment" else 1.0
        return self.buys_at if self.draw < self.chance * lift else ()


def shoppers_of(count: int, start: datetime, end: datetime, seed: int = 16) -> Iterator[Shopper]:
    """Yields shoppers who come one after another at random times from start to end."""
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    for pk in range(FIRST_PK, FIRST_PK + count):
        comes_at = start + rng.random() * (end - start)
        is_regular = rng.random() < 1 / 2
        delay = min(timedelta(hours=rng.expovariate(1 / _MEAN_DELAY_HOURS)), _LONGEST_DELAY)
        first = comes_at + delay
        is_double = rng.random() < _DOUBLE_ORDERS
        yield Shopper(
            pk=pk,
            comes_at=comes_at,
            product=rng.choice(PRODUCTS),
            before=(comes_at - rng.random() * _MONTH,) if is_regular else (),
            buys_at=(first, first + _FEW_MINUTES) if is_double else (first,),
            chance=CONVERSION * (_REGULAR if is_regular else _NEW),
            draw=rng.random(),
        )


def simulate(count: int) -> tuple[int, datetime]:
    """Lets shoppers come to the running experiment, and moves all of it into the past three weeks.

    Returns the number of orders and the start. Closes the engine of the process, which writes the
    exposures. Raises RuntimeError if it cannot.
    """
    end = now().replace(minute=0, second=0, microsecond=0)
    start = end - _PERIOD
    shoppers = list(shoppers_of(count, start, end))
    unusable = make_password(None)
    users = User.objects.bulk_create(
        [User(pk=one.pk, username=f"shopper{one.pk}", password=unusable) for one in shoppers],
        batch_size=_BATCH,
    )
    variants = [get_variant(CHECKOUT_BUTTON, user, default="control") for user in users]
    if not flagstaff.close(_FLUSH_TIMEOUT):
        raise RuntimeError("the exposures were not written in time")
    orders = {
        _order(shopper): at
        for shopper, variant in zip(shoppers, variants, strict=True)
        for at in (*shopper.before, *shopper.purchases(variant))
        if at < end
    }
    Order.objects.bulk_create(orders, batch_size=_BATCH)
    order_times = {order.pk: at for order, at in orders.items()}
    _move(Order, ("id", "uuid"), "created_at", order_times)
    _move(Exposure, ("unit", "text"), "at", {str(one.pk): one.comes_at for one in shoppers})
    experiment = Experiment.objects.filter(key=CHECKOUT_BUTTON)
    ExperimentEvent.objects.filter(experiment__in=experiment).update(at=start)
    experiment.update(created_at=start, started_at=start, runs_since=start)
    return len(orders), start


def _order(shopper: Shopper) -> Order:
    product = shopper.product
    return Order(
        customer_id=shopper.pk,
        name="A. Shopper",
        address="Harbour Street 7, Svolvær",
        lines=[{"text": product.name, "cents": product.cents}],
        cents=product.cents,
        gateway=GATEWAYS["stripe"],
        checkout="classic",
    )


def _move(
    model: type[models.Model],
    key: tuple[str, str],
    column: str,
    times: Mapping[str, datetime] | Mapping[UUID, datetime],
) -> None:
    """Sets a time of many rows in one statement: bulk_update would take minutes."""
    name, of_type = key
    table = model._meta.db_table
    given: list[Any] = [list(times), list(times.values())]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} AS moved SET {column} = given.at "  # noqa: S608 (constants)
            f"FROM unnest(%s::{of_type}[], %s::timestamptz[]) AS given (key, at) "
            f"WHERE moved.{name} = given.key",
            given,
        )
        # The planner's statistics. Autovacuum would collect them within a minute or two.
        cursor.execute(f"ANALYZE {table}")
