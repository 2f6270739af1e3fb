from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.db import DatabaseError, transaction
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import (
    EventQuery,
    Job,
    OptionalApp,
    OtherEvent,
    OtherRules,
    OverviewLine,
    Retention,
    SearchedModel,
)
from flagstaff._words.json_text import read_json
from flagstaff.conf import conf

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.db.models import Model
    from django.http import HttpRequest

    from flagstaff.cli.support.verb import Verb

#: The models whose tables the engine reads and writes, by placeholder.
_TABLES = {
    "experiment_table": "Experiment",
    "exposure_table": "Exposure",
    "lost_exposures_table": "LostExposures",
}


class ExperimentsConfig(OptionalApp, AppConfig):
    name = "flagstaff.experiments"
    label = "flagstaff_experiments"
    verbose_name = _("Feature flags: experiments")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks."""
        register(_check_metrics)
        register(_check_experiments, Tags.database)

    def table_names(self) -> Mapping[str, str]:
        """Returns the tables that workers read and write."""
        return {
            placeholder: self.get_model(model)._meta.db_table
            for placeholder, model in _TABLES.items()
        }

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs of experiments."""
        from flagstaff.experiments.cli import (  # noqa: PLC0415 (only commands need it)
            EXPERIMENT,
            EXPERIMENTS,
            SAMPLE_SIZE,
        )

        return (EXPERIMENT, EXPERIMENTS, SAMPLE_SIZE)

    def jobs(self) -> Sequence[Job]:
        """Returns the job that computes the verdicts of running experiments."""
        from flagstaff.experiments.jobs import VERDICTS  # noqa: PLC0415 (only commands need it)

        return (VERDICTS,)

    def overview_lines(self, site: AdminSite, request: HttpRequest) -> Sequence[OverviewLine]:
        """Returns the running experiments with their last verdicts. Makes one query."""
        from flagstaff.experiments.admin.overview import (  # noqa: PLC0415 (models first)
            overview_lines,
        )

        return overview_lines(site, request)

    def searched_models(self) -> Sequence[SearchedModel]:
        """Returns the experiments."""
        from flagstaff.experiments.admin.texts import search_texts  # noqa: PLC0415 (models first)

        return (SearchedModel(self.get_model("Experiment"), search_texts),)

    def retentions(self) -> Sequence[Retention]:
        """Returns the exposures of experiments that have ended."""
        from flagstaff.experiments.retention import prune_in_batches  # noqa: PLC0415 (models first)

        return (Retention("exposures", conf.exposure_days, prune_in_batches),)

    def operator_models(self) -> Sequence[type[Model]]:
        """Returns the model of experiments."""
        return (self.get_model("Experiment"),)

    def event_kind(self) -> tuple[str, str]:
        """Returns the name and the label of experiments."""
        return "experiment", str(_("experiment"))

    def recent_events(
        self, site: AdminSite, request: HttpRequest, query: EventQuery
    ) -> Sequence[OtherEvent]:
        """Returns the newest events of experiments. Makes one query."""
        from flagstaff.admin.recent_changes.rows import app_events  # noqa: PLC0415 (models first)

        return app_events(site, request, self.get_model("ExperimentEvent"), "experiment", query)

    def keys(self) -> Mapping[str, Collection[str]]:
        """Returns the keys of all experiments. Makes one query."""
        return {"experiment": {key for [key] in self._values("key")}}

    def other_rules(self, *, ended: bool = False) -> Sequence[OtherRules]:
        """Returns the rules of all experiments, of shipped ones only with `ended`. One query."""
        model = self.get_model("Experiment")
        # As text: Python cannot decode all JSON that SQL writes.
        columns = ("pk", "key", "state", Cast("rules", TextField()))
        return [
            OtherRules(model, pk, key, read_json(text), is_active=state == "running")
            for pk, key, state, text in self._values(*columns)
            if ended or state != "shipped"
        ]

    def rename_segments(self, rules: Sequence[OtherRules], keys: Mapping[str, str]) -> None:
        """Writes the rules of experiments in which segments have new keys. No phase begins."""
        from flagstaff.experiments.segments import rename_segments  # noqa: PLC0415 (models first)

        rename_segments(rules, keys)

    def _values(self, *columns: Any) -> list[tuple[Any, ...]]:
        """Returns columns of the experiments; none before the migration."""
        rows = self.get_model("Experiment")._base_manager.using(conf.database)
        try:
            with transaction.atomic(using=conf.database):
                return list(rows.order_by("key").values_list(*columns))
        except DatabaseError:
            return []

    def forget_user(self, pk: str) -> None:
        """Removes the exposures and overrides of a deleted user, and the user as an actor."""
        from flagstaff.experiments.privacy import forget_user  # noqa: PLC0415 (models first)

        forget_user(pk)


# Imported only where checks run, as those of flagstaff itself.
def _check_metrics(**options: Any) -> list[CheckMessage]:
    from flagstaff.experiments.checks import check_metrics  # noqa: PLC0415

    return check_metrics(**options)


def _check_experiments(**options: Any) -> list[CheckMessage]:
    from flagstaff.experiments.checks import check_experiments  # noqa: PLC0415

    return check_experiments(**options)
