from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "flagstaff.contrib.webhooks"
    label = "flagstaff_webhooks"
    verbose_name = _("Feature flags: webhooks")
    default_auto_field = "django.db.models.BigAutoField"
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.webhooks.receivers.SETTINGS",
        "jobs": "flagstaff.contrib.webhooks.delivering.DELIVERIES",
        "waiting_events": "flagstaff.contrib.webhooks.waiting.enqueue_waiting",
        "verbs": "flagstaff.contrib.webhooks.cli.VERBS",
    }
