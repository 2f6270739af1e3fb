"""Who takes the money. The setting `payment_gateway` chooses, without a deploy."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from flagstaff import get_value

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gateway:
    """Stands for a real one: no money moves and no network is asked."""

    name: str
    label: str
    prefix: str

    def charge(self, cents: int) -> str:
        """Takes the payment and returns the gateway's own reference for it."""
        logger.info("%s took %d cents", self.label, cents)
        return f"{self.prefix}{secrets.token_hex(6)}"


STRIPE = Gateway("stripe", "Stripe", "pi_")
PAYPAL = Gateway("paypal", "PayPal", "PAYID-")
GATEWAYS = {gateway.name: gateway for gateway in (STRIPE, PAYPAL)}


def chosen_gateway() -> Gateway:
    """Asked at each payment. A name that the shop does not have must not stop a sale."""
    name = get_value("payment_gateway", default=STRIPE.name)
    gateway = GATEWAYS.get(str(name).lower())
    if gateway is None:
        logger.warning("payment_gateway is %r, which is none of %s", name, sorted(GATEWAYS))
        return STRIPE
    return gateway
