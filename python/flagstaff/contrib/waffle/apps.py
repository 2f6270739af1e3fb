from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig

from flagstaff._text import say


class WaffleConfig(AppConfig):
    name = "flagstaff.contrib.waffle"
    label = "flagstaff_waffle"
    verbose_name = say("Feature flags: django-waffle").lazy
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.waffle.settings.SETTINGS",
        "checks": "flagstaff.contrib.waffle.rows.check_waffle",
        "deciding_code": "flagstaff.contrib.waffle.rows.deciding_code",
        "verbs": "flagstaff.contrib.waffle.cli.VERBS",
    }
