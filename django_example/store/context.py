"""Context of the base template."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from store.cart import Cart
from store.customers import customers_for


def storefront(request: HttpRequest) -> dict[str, Any]:
    """The cart and the customers. Lazy, because the admin uses neither."""
    return {
        "cart": SimpleLazyObject(partial(Cart, request)),
        "customers": SimpleLazyObject(partial(customers_for, request)),
    }
