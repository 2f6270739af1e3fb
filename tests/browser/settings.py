"""The example with rollout plans, under a strict policy: browsers log what breaks it."""

from __future__ import annotations

from shop.settings import *  # noqa: F403
from shop.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "flagstaff.rollouts"]
MIDDLEWARE = ["tests.browser.content_security_policy.strict_policy", *MIDDLEWARE]
