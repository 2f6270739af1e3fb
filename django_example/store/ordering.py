"""Creates a paid order from the cart and the data of a checkout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from store.cart import Cart
from store.delivery import DELIVERIES
from store.gateways import current_gateway
from store.models import Order


def place_order(request: HttpRequest, data: Mapping[str, Any], checkout: str) -> Order:
    cart = Cart(request)
    delivery = DELIVERIES[data["delivery"]]
    items = [{"text": str(line), "cents": line.cents} for line in cart.lines()]
    cents = cart.cents() + delivery.cents
    gateway = current_gateway()
    order = Order(
        customer=request.user if request.user.is_authenticated else None,
        name=data["name"],
        address=f"{data['street']}, {data['city']}",
        lines=[*items, {"text": delivery.label, "cents": delivery.cents}],
        cents=cents,
        gateway=gateway.label,
        reference=gateway.charge(cents),
        checkout=checkout,
    )
    order.save()
    cart.clear()
    return order
