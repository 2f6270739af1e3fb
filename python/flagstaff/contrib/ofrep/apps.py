from __future__ import annotations

from typing import Any, ClassVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.utils.translation import gettext_lazy as _


class OfrepConfig(AppConfig):
    name = "flagstaff.contrib.ofrep"
    label = "flagstaff_ofrep"
    verbose_name = _("Feature flags: OFREP")
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.ofrep.settings.SETTINGS",
        "verbs": "flagstaff.contrib.ofrep.cli.VERBS",
    }

    def ready(self) -> None:
        """Registers the check."""
        register(_check, "flagstaff")


# Imported only where checks run, as those of flagstaff itself.
def _check(**_: Any) -> list[CheckMessage]:
    from flagstaff.contrib.ofrep.checks import check_limit  # noqa: PLC0415

    return check_limit()
