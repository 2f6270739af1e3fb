"""The sample data of the demo."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

from flagstaff import Flag
from store.flags import (
    BETA_REVIEWS,
    CHECKOUT_BUTTON,
    CHECKOUT_FAULT_PERCENT,
    NEW_CHECKOUT,
    PAYMENT_GATEWAY,
    SUMMER_BANNER,
)

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


def _declared(flag: Flag) -> dict[str, Any]:
    """Returns what the code says about a flag, for its row."""
    return {
        "key": str(flag),
        "description": flag.description,
        "owner": flag.owner,
        "tags": [*flag.tags],
        "review_on": flag.review_on,
        "client_side": flag.client_side,
    }


FLAGS: tuple[dict[str, Any], ...] = (
    {**_declared(NEW_CHECKOUT), "enabled": True, "rollout_percent": 5},
    {**_declared(SUMMER_BANNER), "enabled": True, "rollout_percent": 100},
    {
        **_declared(BETA_REVIEWS),
        "rules": [{"name": "customers first", "conditions": [{"segment": CUSTOMER_SEGMENT}]}],
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

VALUES = tuple(
    {
        "key": str(value),
        "value": value.default,
        "description": value.description,
        "choices": [*value.choices],
    }
    for value in (PAYMENT_GATEWAY, CHECKOUT_FAULT_PERCENT)
)

# An action that waits, for a week.
WAITING, WAITS_FOR = f"on {BETA_REVIEWS}", timedelta(days=7)

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
