from __future__ import annotations

from typing import Any, ClassVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.utils.translation import gettext_lazy as _


class WaffleConfig(AppConfig):
    name = "flagstaff.contrib.waffle"
    label = "flagstaff_waffle"
    verbose_name = _("Feature flags: django-waffle")
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.waffle.settings.SETTINGS",
        "verbs": "flagstaff.contrib.waffle.cli.VERBS",
    }

    def ready(self) -> None:
        """Registers the check."""
        register(_check, "flagstaff")


# Imported only where checks run, as those of flagstaff itself.
def _check(**_: Any) -> list[CheckMessage]:
    from flagstaff.contrib.waffle.checks import check_models  # noqa: PLC0415

    return check_models()
