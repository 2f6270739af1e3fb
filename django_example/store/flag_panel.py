"""The flags of one user as the front page shows them, and the worker that evaluated them."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from flagstaff import explain, flag_enabled, get_value, status
from flagstaff._engine.explain import Explanation
from flagstaff._engine.status import Status

NEW_CHECKOUT = "new_checkout"
SUMMER_BANNER = "summer_banner"
BETA_REVIEWS = "beta_reviews"
GIFT_WRAPPING = "gift_wrapping"

# The flags of the shop and their effects.
FLAGS = {
    NEW_CHECKOUT: "Checkout on one page instead of two",
    SUMMER_BANNER: "The summer banner on top of every page",
    BETA_REVIEWS: "Customer reviews on the product pages",
    GIFT_WRAPPING: "Free gift wrapping, for half of all browsers",
}


@dataclass(frozen=True)
class FlagResult:
    """One flag for one user."""

    key: str
    effect: str
    enabled: bool
    reason: str


@dataclass(frozen=True)
class FlagPanel:
    """All flags and the payment gateway, evaluated by the worker that serves the request."""

    flags: list[FlagResult]
    gateway: Any
    microseconds: float
    status: Status


def reason_text(explanation: Explanation) -> str:
    """Returns the reason of an evaluation as a short text."""
    if explanation.error_code:
        return explanation.error_code.replace("_", " ").lower()
    percent = explanation.rollout_percent
    is_by_browser = explanation.bucket_by == "visitor"
    missing = "your browser has no cookie yet" if is_by_browser else "you are not logged in"
    bucket = "the bucket of your browser" if is_by_browser else "your bucket"
    return {
        "DISABLED": "off",
        "TARGETING_MATCH": "you are an allowed user, or a rule matches",
        "STATIC": "on for all",
        "DEFAULT": f"rollout {percent} %, but {missing}",
        "SPLIT": f"{bucket} is {explanation.bucket}, the rollout is {percent} %",
    }[explanation.reason]


def flag_panel_of(user: AbstractBaseUser | AnonymousUser) -> FlagPanel:
    # Loads the user and starts a new worker before the time is measured.
    explain(NEW_CHECKOUT, user)
    started = perf_counter_ns()
    results = {key: flag_enabled(key, user) for key in FLAGS}
    gateway = get_value("payment_gateway", default="stripe")
    elapsed = perf_counter_ns() - started
    # Last: the evaluation gives a new browser the visitor that the reason is about.
    reasons = {key: reason_text(explain(key, user)) for key in FLAGS}
    flags = [FlagResult(key, FLAGS[key], results[key], reasons[key]) for key in FLAGS]
    return FlagPanel(flags, gateway, elapsed / 1000, status())
