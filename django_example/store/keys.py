"""The keys of the flags and of the experiment."""

from __future__ import annotations

NEW_CHECKOUT = "new_checkout"
SUMMER_BANNER = "summer_banner"
BETA_REVIEWS = "beta_reviews"
#: The button in the cart: see `templates/store/cart.html`.
CHECKOUT_BUTTON = "checkout_button"
