"""The admin of the way from waffle: a page of the differences between waffle and flagstaff."""

from __future__ import annotations

from flagstaff.admin.lazy import register
from flagstaff.compat.models import Difference

register(Difference, "flagstaff.compat.differences_page.DifferencesAdmin")
