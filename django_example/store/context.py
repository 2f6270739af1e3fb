"""What the frame around every page shows."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from store.cart import Cart
from store.people import people_for


def storefront(request: HttpRequest) -> dict[str, Any]:
    """Lazy, because the admin renders through here as well and shows none of it."""
    return {
        "cart": SimpleLazyObject(partial(Cart, request)),
        "people": SimpleLazyObject(partial(people_for, request)),
    }
