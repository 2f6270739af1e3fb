"""The flags and values of the shop, which every environment has without a row."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator

from flagstaff import Flag, Value

NEW_CHECKOUT = Flag(
    "new_checkout",
    "Checkout on one page. Raise the rollout and watch the crowd page.",
    owner="payments",
    tags=["checkout"],
    client_side=True,
)
SUMMER_BANNER = Flag(
    "summer_banner",
    "The banner on top of every page.",
    owner="marketing",
    tags=["seasonal"],
    # In the past: the flag is stale.
    review_on="2026-09-30",
    client_side=True,
)
BETA_REVIEWS = Flag(
    "beta_reviews",
    "Customer reviews on the product pages. Customers see them first.",
    owner="catalogue",
    tags=["product page"],
)

PAYMENT_GATEWAY = Value(
    "payment_gateway", "stripe", "The payment provider.", choices=["stripe", "paypal"]
)
CHECKOUT_FAULT_PERCENT = Value(
    "checkout_fault_percent",
    0,
    "A fault to try plans with: so many orders fail in the new checkout.",
    validators=[MinValueValidator(0), MaxValueValidator(100)],
)

#: The experiment in the cart: see `templates/store/cart.html`.
CHECKOUT_BUTTON = "checkout_button"
