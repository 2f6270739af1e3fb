from __future__ import annotations

import sys
from typing import ClassVar

from django.apps import AppConfig

from flagstaff._text import say


class RolloutsConfig(AppConfig):
    name = "flagstaff.rollouts"
    label = "flagstaff_rollouts"
    verbose_name = say("Feature flags: rollout plans").lazy
    default_auto_field = "django.db.models.BigAutoField"
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.rollouts.requests.SETTINGS",
        "origin": "flagstaff.rollouts.requests.origin_of",
        "observer": "flagstaff.rollouts.requests.exclude_body",
        "database_checks": "flagstaff.rollouts.hooks.check_plans",
        "tables": "flagstaff.rollouts.models.TABLES",
        "deleted_rows": "flagstaff.rollouts.models.Plan",
        "forget_user": "flagstaff.rollouts.hooks.forget_user",
        "planned_flags": "flagstaff.rollouts.hooks.planned_flags",
        "jobs": "flagstaff.rollouts.hooks.PLANS",
        "retention": "flagstaff.rollouts.hooks.retention",
        "actions": "flagstaff.rollouts.actions.ACTIONS",
        "verbs": "flagstaff.rollouts.cli.VERBS",
        "pages": "flagstaff.rollouts.admin.plans.PAGES",
    }

    def ready(self) -> None:
        """Observes Celery's tasks if the project has imported it."""
        if "celery" in sys.modules:
            from flagstaff.rollouts.celery import connect  # noqa: PLC0415 (needs Celery)

            connect()
