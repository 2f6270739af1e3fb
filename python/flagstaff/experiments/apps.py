from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

if TYPE_CHECKING:
    from flagstaff.cli.support.verb import Verb

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

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs `experiment` and `experiments`."""
        from flagstaff.experiments.cli import (  # noqa: PLC0415 (only commands need it)
            EXPERIMENT,
            EXPERIMENTS,
        )

        return (EXPERIMENT, EXPERIMENTS)

    def forget_user(self, pk: str) -> None:
        """Removes the exposures and overrides of a deleted user, and the user as an actor."""
        from flagstaff.experiments.privacy import forget_user  # noqa: PLC0415 (models first)

        forget_user(pk)
