from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import (
    EventQuery,
    Job,
    OptionalApp,
    OtherEvent,
    OverviewLine,
    Retention,
    SearchedModel,
)
from flagstaff.conf import conf

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

    from flagstaff.admin.flag.parts.app_panels import AppPart
    from flagstaff.cli.support.verb import Verb

#: The models whose tables the engine reads and writes, by placeholder.
_TABLES = {
    "plan_table": "Plan",
    "step_run_table": "StepRun",
    "signal_count_table": "SignalCount",
    "seen_register_table": "SeenRegister",
    "failed_unit_table": "FailedUnit",
    "failed_network_table": "FailedNetwork",
}


class RolloutsConfig(OptionalApp, AppConfig):
    name = "flagstaff.rollouts"
    label = "flagstaff_rollouts"
    verbose_name = _("Feature flags: rollout plans")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks. Observes Celery's tasks if the project has imported it."""
        register(_check_plans, Tags.database)
        if "celery" in sys.modules:
            from flagstaff.rollouts.celery import connect  # noqa: PLC0415 (needs Celery)

            connect()

    def table_names(self) -> Mapping[str, str]:
        """Returns the tables that workers read and write."""
        return {
            placeholder: self.get_model(model)._meta.db_table
            for placeholder, model in _TABLES.items()
        }

    def forget_user(self, pk: str) -> None:
        """Removes a deleted user as the actor of plans and their events, and as a scheduler."""
        from flagstaff._tables.user_lookup import forget_actor  # noqa: PLC0415 (models first)
        from flagstaff.rollouts.models import Plan, PlanEvent  # noqa: PLC0415 (models first)

        for model in (Plan, PlanEvent):
            forget_actor(model._base_manager.using(conf.database), pk)
        from flagstaff.rollouts.schedulers import forget_scheduler  # noqa: PLC0415 (models first)

        forget_scheduler(pk)

    def jobs(self) -> Sequence[Job]:
        """Returns the job that drives the plans."""
        from flagstaff.rollouts.jobs import PLANS  # noqa: PLC0415 (only commands need it)

        return (PLANS,)

    def retentions(self) -> Sequence[Retention]:
        """Returns the networks of ended runs."""
        from flagstaff.rollouts.jobs import (  # noqa: PLC0415 (only commands need it)
            NETWORK_DAYS,
            prune_networks_in_batches,
        )

        return (Retention("networks", NETWORK_DAYS, prune_networks_in_batches, by_setting=False),)

    def flag_part(self) -> type[AppPart]:
        """Returns what the pages of flags show of plans."""
        from flagstaff.rollouts.admin.flag_parts import FlagPlan  # noqa: PLC0415 (models first)

        return FlagPlan

    def event_kind(self) -> tuple[str, str]:
        """Returns the name and the label of plans."""
        return "plan", str(_("rollout plan"))

    def recent_events(
        self, site: AdminSite, request: HttpRequest, query: EventQuery
    ) -> Sequence[OtherEvent]:
        """Returns the newest events of plans. Makes one query."""
        from flagstaff.admin.recent_changes.rows import app_events  # noqa: PLC0415 (models first)

        return app_events(site, request, self.get_model("PlanEvent"), "plan", query)

    def overview_lines(self, site: AdminSite, request: HttpRequest) -> Sequence[OverviewLine]:
        """Returns the plans that run or need attention. Makes up to two queries."""
        from flagstaff.rollouts.admin.overview import overview_lines  # noqa: PLC0415 (models first)

        return overview_lines(site, request)

    def searched_models(self) -> Sequence[SearchedModel]:
        """Returns the plans, by the keys of their flags."""
        from flagstaff.rollouts.admin.texts import search_texts  # noqa: PLC0415 (models first)

        return (SearchedModel(self.get_model("Plan"), search_texts),)

    def planned_flags(self) -> Collection[str]:
        """Returns the primary keys of flags with an active plan. Makes one query."""
        from flagstaff.rollouts.models import ACTIVE_STATES, Plan  # noqa: PLC0415 (models first)

        active = Plan.objects.using(conf.database).filter(state__in=ACTIVE_STATES)
        return list(active.order_by().values_list("flag_pk", flat=True))

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs of plans."""
        from flagstaff.rollouts.cli import PLAN, PLANS  # noqa: PLC0415 (only commands need it)

        return (PLAN, PLANS)


# Imported only where checks run, as those of flagstaff itself.
def _check_plans(**options: Any) -> list[CheckMessage]:
    from flagstaff.rollouts.checks import check_plans  # noqa: PLC0415

    return check_plans(**options)
