"""The page of a flag: the parts above and below the form."""

from __future__ import annotations

from flagstaff.admin.flag_page.impact import ImpactMixin
from flagstaff.admin.flag_page.page import FlagPageMixin
from flagstaff.admin.flag_page.saving import ConfirmedSavingMixin
from flagstaff.admin.flag_page.toggle import TogglePagesMixin

__all__ = ["ConfirmedSavingMixin", "FlagPageMixin", "ImpactMixin", "TogglePagesMixin"]
