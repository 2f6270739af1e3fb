"""The tags of waffle, to be registered while waffle is not installed.

TEMPLATES = [{"OPTIONS": {"libraries": {
    "waffle_tags": "flagstaff.compat.waffle.templatetags.waffle_tags"}}}]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff.compat.names_of_waffle import names_of

if TYPE_CHECKING:
    from flagstaff.compat.without_waffle.templatetags.waffle_tags import *  # noqa: F403

__getattr__ = names_of("templatetags.waffle_tags")
