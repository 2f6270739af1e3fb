"""What the pages of the shop do while a simulated shopper looks at them."""

from __future__ import annotations

from django.contrib.auth.models import User

from flagstaff.experiments import get_variant, peek_variant
from store.experiments import CHECKOUT_BUTTON, LARGE_PHOTOS
from store.simulation.shoppers import Shopper

__all__ = ["look_at_cart", "look_at_photos"]


def look_at_cart(user: User) -> str | None:
    """Shows the button, and returns its variant, as `{% variant %}` does in the cart."""
    return get_variant(CHECKOUT_BUTTON, user, default="control")


def look_at_photos(user: User, shopper: Shopper) -> None:
    """Shows a page with large photos. The planted mistake: the variant is recorded too late.

    The page of the treatment fails in an old browser before it records the shopper.
    """
    if peek_variant(LARGE_PHOTOS, user) == "treatment" and shopper.has_old_browser:
        return
    get_variant(LARGE_PHOTOS, user)
