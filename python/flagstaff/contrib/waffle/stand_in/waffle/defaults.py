"""What waffle's settings are, unless a project has its own."""

from __future__ import annotations

from flagstaff.contrib.waffle.rows import DEFAULTS

globals().update(DEFAULTS)
