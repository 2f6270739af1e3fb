"""What is on for one visitor right now, and which worker says so."""

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

# Each flag that the shop asks, with what it changes when it is on.
FLAGS = {
    NEW_CHECKOUT: "Checkout on one page instead of three",
    SUMMER_BANNER: "The summer banner above every page",
    BETA_REVIEWS: "Customer reviews beside the products",
}


@dataclass(frozen=True)
class Standing:
    """One flag for one visitor, in words."""

    key: str
    effect: str
    enabled: bool
    why: str


@dataclass(frozen=True)
class Desk:
    """All of it, as the worker that answers this request sees it."""

    flags: list[Standing]
    gateway: Any
    microseconds: float
    status: Status


def why(explanation: Explanation) -> str:
    """The reason code as a visitor would say it."""
    if explanation.error_code:
        return explanation.error_code.replace("_", " ").lower()
    percent = explanation.rollout_percent
    return {
        "DISABLED": "switched off",
        "TARGETING_MATCH": "you are on its allow-list",
        "STATIC": "on for everyone",
        "DEFAULT": f"rollout at {percent} %, but you are nobody",
        "SPLIT": f"your bucket is {explanation.bucket}, the rollout is at {percent} %",
    }[explanation.reason]


def standing_of(user: AbstractBaseUser | AnonymousUser) -> Desk:
    # First, so that no clock runs while the user is read or a new worker loads.
    reasons = {key: why(explain(key, user)) for key in FLAGS}
    started = perf_counter_ns()
    answers = {key: flag_enabled(key, user) for key in FLAGS}
    gateway = get_value("payment_gateway", default="stripe")
    elapsed = perf_counter_ns() - started
    flags = [Standing(key, FLAGS[key], answers[key], reasons[key]) for key in FLAGS]
    return Desk(flags, gateway, elapsed / 1000, status())
