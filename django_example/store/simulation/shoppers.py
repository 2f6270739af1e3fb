"""Who the simulated shoppers are, when they come, and how likely they buy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.products import PRODUCTS, Product

__all__ = ["CONVERSION", "FIRST_PK", "LIFT", "Purchase", "Shopper", "shoppers_of"]

#: The planted effect: 10 % of the shoppers buy, and with the button of the treatment 13 %.
CONVERSION = 0.10
LIFT = 1.3
# Both factors are 1 on average: half of the shoppers are regulars, a quarter has an old browser.
_REGULAR, _NEW = 1.5, 0.5
_OLD_BROWSER, _NEW_BROWSER = 0.1, 1.3
_OLD_BROWSERS = 0.25
_DOUBLE_ORDERS = 0.08

#: Above the keys of the sample data, and always the same: the key decides the variant.
FIRST_PK = 100_000
_MONTH = timedelta(days=27)
# Most shoppers buy on the day of their visit.
_MEAN_DELAY_HOURS = 8
_LONGEST_DELAY = timedelta(days=6)
_FEW_MINUTES = timedelta(minutes=3)


@dataclass(frozen=True)
class Purchase:
    """An order that a shopper places."""

    product: Product
    at: datetime


@dataclass(frozen=True)
class Shopper:
    """A simulated user."""

    pk: int
    comes_at: datetime
    has_old_browser: bool
    #: Orders before the experiment.
    before: tuple[Purchase, ...]
    #: What a shopper buys who buys.
    cart: tuple[Purchase, ...]
    #: The chance to buy with the control.
    chance: float
    #: Decides whether the shopper buys: a number from 0 to 1 that is the same for all variants.
    draw: float

    def purchases(self, variant: str | None) -> tuple[Purchase, ...]:
        """Returns what the shopper buys after meeting this variant of the button."""
        lift = LIFT if variant == "treatment" else 1.0
        return self.cart if self.draw < self.chance * lift else ()


def shoppers_of(count: int, start: datetime, end: datetime, seed: int = 16) -> Iterator[Shopper]:
    """Yields shoppers who come one after another at random times from start to end."""
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    for pk in range(FIRST_PK, FIRST_PK + count):
        yield _shopper(rng, pk, start + rng.random() * (end - start))


def _shopper(rng: random.Random, pk: int, comes_at: datetime) -> Shopper:
    is_regular = rng.random() < 1 / 2
    has_old_browser = rng.random() < _OLD_BROWSERS
    # A shopper buys the same thing again, so what was spent before predicts what is spent now.
    product = rng.choice(PRODUCTS)
    before = (Purchase(product, comes_at - rng.random() * _MONTH),) if is_regular else ()
    delay = min(timedelta(hours=rng.expovariate(1 / _MEAN_DELAY_HOURS)), _LONGEST_DELAY)
    first = Purchase(product, comes_at + delay)
    is_double = rng.random() < _DOUBLE_ORDERS
    second = (Purchase(product, first.at + _FEW_MINUTES),) if is_double else ()
    return Shopper(
        pk=pk,
        comes_at=comes_at,
        has_old_browser=has_old_browser,
        before=before,
        cart=(first, *second),
        chance=CONVERSION
        * (_REGULAR if is_regular else _NEW)
        * (_OLD_BROWSER if has_old_browser else _NEW_BROWSER),
        draw=rng.random(),
    )
