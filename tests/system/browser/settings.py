"""The example under a strict Content-Security-Policy: browsers log what breaks it."""

from __future__ import annotations

from shop.settings import *  # noqa: F403
from shop.settings import MIDDLEWARE

MIDDLEWARE = ["tests.system.browser.content_security_policy.strict_policy", *MIDDLEWARE]
