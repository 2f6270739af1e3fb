"""The experiments of the shop. Their variants are "control" and "treatment"."""

from __future__ import annotations

#: The button in the cart: see `templates/store/cart.html`.
CHECKOUT_BUTTON = "checkout_button"
#: Only in the simulation: see `simulation/run.py`.
LARGE_PHOTOS = "large_photos"
