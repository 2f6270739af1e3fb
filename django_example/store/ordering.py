"""From a full cart and the answers of a checkout to a paid order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from store.cart import Cart
from store.delivery import DELIVERIES
from store.gateways import chosen_gateway
from store.models import Order


def place_order(request: HttpRequest, answers: Mapping[str, Any], checkout: str) -> Order:
    cart = Cart(request)
    delivery = DELIVERIES[answers["delivery"]]
    goods = [{"text": str(line), "cents": line.cents} for line in cart.lines()]
    cents = cart.cents() + delivery.cents
    gateway = chosen_gateway()
    order = Order(
        customer=request.user if request.user.is_authenticated else None,
        name=answers["name"],
        address=f"{answers['street']}, {answers['city']}",
        lines=[*goods, {"text": delivery.label, "cents": delivery.cents}],
        cents=cents,
        gateway=gateway.label,
        reference=gateway.charge(cents),
        checkout=checkout,
    )
    order.save()
    cart.clear()
    return order
