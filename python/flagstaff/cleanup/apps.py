from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import Job, OptionalApp, OverviewLine
from flagstaff.conf import conf

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

    from flagstaff.admin.flag.parts.app_panels import AppPart
    from flagstaff.cli.support.verb import Verb


class CleanupConfig(OptionalApp, AppConfig):
    name = "flagstaff.cleanup"
    label = "flagstaff_cleanup"
    verbose_name = _("Feature flags: clean-up")
    default_auto_field = "django.db.models.BigAutoField"

    def flag_part(self) -> type[AppPart]:
        """Returns what the pages of flags show of stale flags."""
        from flagstaff.cleanup.admin.flag_parts import StaleFlag  # noqa: PLC0415 (models first)

        return StaleFlag

    def jobs(self) -> Sequence[Job]:
        """Returns the job that counts the stale flags."""
        from flagstaff.cleanup.jobs import STALE  # noqa: PLC0415 (only commands need it)

        return (STALE,)

    def overview_lines(self, site: AdminSite, request: HttpRequest) -> Sequence[OverviewLine]:
        """Returns the number of stale flags. Makes one query."""
        from flagstaff.cleanup.admin.overview import overview_lines  # noqa: PLC0415 (models first)

        return overview_lines(site, request)

    def stale_flags(self) -> Collection[str]:
        """Returns the primary keys of the stale flags, without those that are snoozed."""
        from flagstaff.cleanup.stale import stale_flags  # noqa: PLC0415 (models first)

        return [flag.facts.pk for flag in stale_flags()]

    def forget_user(self, pk: str) -> None:
        """Removes a deleted user as the actor of snoozes."""
        from flagstaff.cleanup.models import Snooze  # noqa: PLC0415 (models first)

        Snooze._base_manager.using(conf.database).filter(actor=pk).update(actor="")

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs of the clean-up."""
        from flagstaff.cleanup.cli import SNOOZE, STALE  # noqa: PLC0415 (only commands need it)
        from flagstaff.cleanup.references_verb import REFERENCES  # noqa: PLC0415 (only commands)

        return (STALE, SNOOZE, REFERENCES)
