"""The experiments of the shop."""

from __future__ import annotations

#: Variants: "control" and "treatment", see `templates/store/cart.html`.
CHECKOUT_BUTTON = "checkout_button"
