from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig

from flagstaff._text import say


class WebhooksConfig(AppConfig):
    name = "flagstaff.contrib.webhooks"
    label = "flagstaff_webhooks"
    verbose_name = say("Feature flags: webhooks").lazy
    default_auto_field = "django.db.models.BigAutoField"
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.contrib.webhooks.receivers.SETTINGS",
        "jobs": "flagstaff.contrib.webhooks.delivering.DELIVERIES",
        "waiting_events": "flagstaff.contrib.webhooks.queue.enqueue_waiting",
        "verbs": "flagstaff.contrib.webhooks.cli.VERBS",
    }
