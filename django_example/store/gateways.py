"""Payment providers. The value `payment_gateway` selects one without a deploy."""

from __future__ import annotations

import logging

from flagstaff import get_value

logger = logging.getLogger(__name__)

# Their names in the value, and on a receipt. They are fake: they take no money.
GATEWAYS = {"stripe": "Stripe", "paypal": "PayPal"}


def current_gateway() -> str:
    """Returns the gateway of now. An unknown name must not stop a sale: it returns Stripe."""
    name = get_value("payment_gateway", default="stripe")
    gateway = GATEWAYS.get(str(name).lower())
    if gateway is None:
        logger.warning("payment_gateway is %r, not one of %s; using Stripe", name, sorted(GATEWAYS))
        return GATEWAYS["stripe"]
    return gateway
