from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig

from flagstaff._text import say


class OfrepConfig(AppConfig):
    name = "flagstaff.contrib.ofrep"
    label = "flagstaff_ofrep"
    verbose_name = say("Feature flags: OFREP").lazy
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.ofrep.settings.SETTINGS",
        "verbs": "flagstaff.contrib.ofrep.cli.VERBS",
    }
