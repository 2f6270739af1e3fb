from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig

from flagstaff._text import say


class ExperimentsConfig(AppConfig):
    name = "flagstaff.experiments"
    label = "flagstaff_experiments"
    verbose_name = say("Feature flags: experiments").lazy
    default_auto_field = "django.db.models.BigAutoField"
    flagstaff_hooks: ClassVar = {
        "settings": "flagstaff.experiments.requests.SETTINGS",
        "crawlers": "flagstaff.experiments.requests.crawlers",
        "checks": "flagstaff.experiments.requirements.check_metrics",
        "tables": "flagstaff.experiments.models.TABLES",
        "keys": "flagstaff.experiments.hooks.keys",
        "rules": "flagstaff.experiments.hooks.rules",
        "deleted_rows": "flagstaff.experiments.models.Experiment",
        "forget_user": "flagstaff.experiments.hooks.forget_user",
        "jobs": "flagstaff.experiments.jobs.VERDICTS",
        "retention": "flagstaff.experiments.jobs.retention",
        "actions": "flagstaff.experiments.actions.ACTIONS",
        "verbs": "flagstaff.experiments.cli.VERBS",
        "pages": "flagstaff.experiments.admin.experiments.PAGES",
    }
