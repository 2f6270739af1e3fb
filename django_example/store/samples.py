"""The sample data of the demo."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import Any

from store.experiments import CHECKOUT_BUTTON
from store.flag_panel import BETA_REVIEWS, GIFT_WRAPPING, NEW_CHECKOUT, SUMMER_BANNER

ADMIN = ("admin", "flagstaff")
# May turn flags on and off and roll them out, but not change anything else.
RELEASE = ("release", "flagstaff")
RELEASE_PERMISSIONS = ("view_featureflag", "toggle_featureflag")

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
        "rules": [
            {"name": "customers first", "conditions": [{"segment": CUSTOMER_SEGMENT}]},
        ],
        "description": "Customer reviews on the product pages. Customers see them first.",
        "owner": "catalogue",
        "tags": ["product page"],
    },
    {
        "key": GIFT_WRAPPING,
        "enabled": True,
        "rollout_percent": 50,
        "bucket_by": "visitor",
        "description": "Free gift wrapping. Half of all browsers see it, also without a login.",
        "owner": "payments",
        "tags": ["checkout", "product page"],
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
    "owner": "payments",
}
ANALYSIS: dict[str, Any] = {
    "primary": "orders",
    "others": ["revenue"],
    # One user of 200 more who orders twice by mistake is tolerated.
    "guardrails": {"double_orders": 0.005},
    "planned_units": 20_000,
}

PRODUCTS: tuple[dict[str, Any], ...] = (
    {
        "slug": "pennant",
        "name": "Harbour pennant",
        "blurb": "Long, red, and visible from the far side of the bay.",
        "story": "Cut from sailcloth and sewn twice along the hoist. Says that you are in.",
        "cents": 2400,
        "art": "pennant",
    },
    {
        "slug": "bunting",
        "name": "Summer bunting",
        "blurb": "Seven metres of small triangles for days without work.",
        "story": "Cotton, in four colours, on a cord that does not tangle. Almost never.",
        "cents": 1850,
        "art": "bunting",
    },
    {
        "slug": "semaphore",
        "name": "Semaphore pair",
        "blurb": "Two flags, two arms, no batteries.",
        "story": "The oldest way to send a bit across water. A chart of letters is included.",
        "cents": 3600,
        "art": "semaphore",
    },
    {
        "slug": "lantern",
        "name": "Signal lantern",
        "blurb": "On is on, off is off, visible to all.",
        "story": "Brass and glass with a shutter. One candle is visible for two miles.",
        "cents": 8900,
        "art": "lantern",
    },
    {
        "slug": "windsock",
        "name": "Windsock",
        "blurb": "Knows what is changing before you feel it.",
        "story": "Striped nylon on a swivel. It never polls, it listens.",
        "cents": 2950,
        "art": "windsock",
    },
    {
        "slug": "halyard",
        "name": "Halyard, 20 m",
        "blurb": "The rope that takes a flag up, and down again at once.",
        "story": "Braided, soft in the hand, kind to the block. Coiled as you see it.",
        "cents": 3200,
        "art": "halyard",
    },
    {
        "slug": "kite",
        "name": "Paper kite",
        "blurb": "A flag that would not stay on its staff.",
        "story": "Bamboo and washi, with a tail of five bows. Flies in the lightest air.",
        "cents": 2100,
        "art": "kite",
    },
    {
        "slug": "bell",
        "name": "Watch bell",
        "blurb": "Rings once, and the whole crew knows.",
        "story": "Cast brass with a braided pull. Four bells means that tea is ready.",
        "cents": 6400,
        "art": "bell",
    },
)
