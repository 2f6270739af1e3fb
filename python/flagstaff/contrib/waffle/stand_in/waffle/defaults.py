"""What waffle's settings are, unless a project has its own."""

from __future__ import annotations

from flagstaff.contrib.waffle.settings import DEFAULTS

globals().update(DEFAULTS)
