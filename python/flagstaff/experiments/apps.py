from __future__ import annotations

from collections.abc import Mapping

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

__all__ = ["ExperimentsConfig"]

#: The models whose tables the engine reads and writes, by placeholder.
_TABLES = {
    "experiment_table": "Experiment",
    "exposure_table": "Exposure",
    "lost_exposures_table": "LostExposures",
    "exposure_worker_table": "ExposureWorker",
}


class ExperimentsConfig(OptionalApp, AppConfig):
    name = "flagstaff.experiments"
    label = "flagstaff_experiments"
    verbose_name = _("Experiments")
    default_auto_field = "django.db.models.BigAutoField"

    def table_names(self) -> Mapping[str, str]:
        """Returns the tables that workers read and write."""
        return {
            placeholder: self.get_model(model)._meta.db_table
            for placeholder, model in _TABLES.items()
        }
