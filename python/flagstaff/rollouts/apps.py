from __future__ import annotations

import sys
from collections.abc import Mapping

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

__all__ = ["RolloutsConfig"]

#: The models whose tables the engine reads and writes, by placeholder.
_TABLES = {
    "plan_table": "Plan",
    "step_run_table": "StepRun",
    "signal_count_table": "SignalCount",
    "seen_register_table": "SeenRegister",
    "failed_unit_table": "FailedUnit",
    "signal_worker_table": "SignalWorker",
}


class RolloutsConfig(OptionalApp, AppConfig):
    name = "flagstaff.rollouts"
    label = "flagstaff_rollouts"
    verbose_name = _("Rollout plans")
    default_auto_field = "django.db.models.BigAutoField"
    observes_requests = True

    def ready(self) -> None:
        """Observes the tasks of Celery, if the project has imported it."""
        if "celery" in sys.modules:
            from flagstaff.rollouts.celery import connect  # noqa: PLC0415

            connect()

    def table_names(self) -> Mapping[str, str]:
        """Returns the tables that workers read and write."""
        return {
            placeholder: self.get_model(model)._meta.db_table
            for placeholder, model in _TABLES.items()
        }
