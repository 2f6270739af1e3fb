from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _

from flagstaff import checks

__all__ = ["FlagstaffConfig"]


class FlagstaffConfig(AppConfig):
    name = "flagstaff"
    label = "flagstaff"
    verbose_name = _("Feature flags")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks. Nothing here connects to a database."""
        register(checks.check_setting_names)
        register(checks.check_setting_values)
