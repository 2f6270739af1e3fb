from __future__ import annotations

import sys
from typing import Any, ClassVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy as _


class RolloutsConfig(AppConfig):
    name = "flagstaff.rollouts"
    label = "flagstaff_rollouts"
    verbose_name = _("Feature flags: rollout plans")
    default_auto_field = "django.db.models.BigAutoField"
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.rollouts.settings.SETTINGS",
        "origin": "flagstaff.rollouts.request_origin.origin_of",
        "observer": "flagstaff.rollouts.request_body.exclude_body",
        "tables": "flagstaff.rollouts.models.TABLES",
        "forget_user": "flagstaff.rollouts.hooks.forget_user",
        "planned_flags": "flagstaff.rollouts.hooks.planned_flags",
        "jobs": "flagstaff.rollouts.jobs.PLANS",
        "retention": "flagstaff.rollouts.jobs.retention",
        "actions": "flagstaff.rollouts.actions.ACTIONS",
        "verbs": "flagstaff.rollouts.cli.VERBS",
        "pages": "flagstaff.rollouts.admin.flags.PAGES",
    }

    def ready(self) -> None:
        """Registers the system checks. Observes Celery's tasks if the project has imported it."""
        register(_check_plans, Tags.database)
        if "celery" in sys.modules:
            from flagstaff.rollouts.celery import connect  # noqa: PLC0415 (needs Celery)

            connect()


# Imported only where checks run, as those of flagstaff itself.
def _check_plans(**options: Any) -> list[CheckMessage]:
    from flagstaff.rollouts.checks import check_plans  # noqa: PLC0415

    return check_plans(**options)
