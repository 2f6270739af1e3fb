"""The sample data of the demo."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import Any

from store.keys import BETA_REVIEWS, CHECKOUT_BUTTON, NEW_CHECKOUT, SUMMER_BANNER

PASSWORD = "flagstaff"
# Staff and their permissions; None for all. `release` may turn flags on and off and roll them out.
STAFF = {"admin": None, "release": ("view_featureflag", "toggle_featureflag")}

# username, first name, last name
CUSTOMERS = (
    ("alice", "Alice", "Lindqvist"),
    ("bob", "Bob", "Okafor"),
    ("carol", "Carol", "Moreau"),
)

# 33 first names times 9 last names, plus the customers above: 300 users.
FIRST_NAMES = (
    "Ada Amir Anouk Bela Chidi Clara Dario Edda Emil Farah Greta Hugo Ida Ilir Ines Jonas Kaya "
    "Lars Leila Malik Mira Nils Olena Paulo Quinn Rana Sami Signe Tariq Uma Vera Yusuf Zoe"
)
LAST_NAMES = "Berg Costa Diaz Eriksen Fofana Haddad Ito Novak Silva"
CROWD = tuple(
    (f"{first}.{last}".lower(), first, last)
    for first, last in product(FIRST_NAMES.split(), LAST_NAMES.split())
)

CUSTOMER_SEGMENT = "customers"
FLAGS: tuple[dict[str, Any], ...] = (
    {
        "key": NEW_CHECKOUT,
        "enabled": True,
        "rollout_percent": 5,
        "client_side": True,
        "description": "Checkout on one page. Raise the rollout and watch the crowd page.",
        "owner": "payments",
        "tags": ["checkout"],
    },
    {
        "key": SUMMER_BANNER,
        "enabled": True,
        "rollout_percent": 100,
        "client_side": True,
        "description": "The banner on top of every page.",
        "owner": "marketing",
        "tags": ["seasonal"],
        # In the past: the flag is stale.
        "review_on": date(2026, 9, 30),
    },
    {
        "key": BETA_REVIEWS,
        "enabled": False,
        "rollout_percent": 0,
        "rules": [{"name": "customers first", "conditions": [{"segment": CUSTOMER_SEGMENT}]}],
        "description": "Customer reviews on the product pages. Customers see them first.",
        "owner": "catalogue",
        "tags": ["product page"],
    },
)
SEGMENTS: tuple[dict[str, Any], ...] = (
    {
        "key": CUSTOMER_SEGMENT,
        "conditions": [{"attribute": "is_authenticated", "operator": "in", "values": [True]}],
        "description": "Users who are logged in.",
    },
)
ALLOWED: dict[str, tuple[str, ...]] = {NEW_CHECKOUT: ("alice",)}

VALUES = (
    {
        "key": "payment_gateway",
        "value": "stripe",
        "description": "The payment provider.",
        "choices": ["stripe", "paypal"],
    },
    {
        "key": "checkout_fault_percent",
        "value": 0,
        "description": "A fault to try plans with: so many orders fail in the new checkout.",
    },
)

# A draft: start it in the admin.
EXPERIMENT: dict[str, Any] = {
    "key": CHECKOUT_BUTTON,
    "description": 'Do more users order if the button in the cart says "Buy now", in green?',
}
ANALYSIS: dict[str, Any] = {
    "primary": "orders",
    "others": ["revenue"],
    # One user of 200 more who orders twice by mistake is tolerated.
    "guardrails": {"double_orders": 0.005},
    "planned_units": 20_000,
    # Two of a hundred users more or less who order.
    "smallest_effect": 0.02,
}
