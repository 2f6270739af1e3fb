from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OfrepConfig(AppConfig):
    name = "flagstaff.contrib.ofrep"
    label = "flagstaff_ofrep"
    verbose_name = _("Feature flags: OFREP")
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.ofrep.settings.SETTINGS",
        "verbs": "flagstaff.contrib.ofrep.cli.VERBS",
    }
