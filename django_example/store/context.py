"""Context of the base template."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from store.cart import Cart
from store.customers import customers_for


def storefront(request: HttpRequest) -> dict[str, Any]:
    """The cart and the customers, lazily, because the admin uses neither, and the admin's host.

    The host has another name than the shop's, so a browser has a session for each: you can be
    alice in the shop and admin there.
    """
    return {
        "cart": SimpleLazyObject(partial(Cart, request)),
        "customers": SimpleLazyObject(partial(customers_for, request)),
        "admin_host": f"//localhost:{request.get_port()}",
    }
