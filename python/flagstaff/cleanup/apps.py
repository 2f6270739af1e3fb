from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp
from flagstaff.conf import conf

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.db.models import Model
    from django.http import HttpRequest

    from flagstaff.cli.support.verb import Verb


class CleanupConfig(OptionalApp, AppConfig):
    name = "flagstaff.cleanup"
    label = "flagstaff_cleanup"
    verbose_name = _("Clean-up")
    default_auto_field = "django.db.models.BigAutoField"

    admin_css = ("flagstaff/cleanup.css",)

    def flag_panel(self, site: AdminSite, request: HttpRequest, flag: Model) -> str:
        """Returns the signals of a flag, and a link to the page of stale flags."""
        from flagstaff.cleanup.admin.flag_parts import flag_panel  # noqa: PLC0415 (models first)

        return flag_panel(site, request, flag)

    def flag_notes(self, flags: Sequence[Model]) -> Mapping[str, str]:
        """Returns the signals of those flags that are stale."""
        from flagstaff.cleanup.admin.flag_parts import flag_notes  # noqa: PLC0415 (models first)

        return flag_notes(flags)

    def flag_links(self, site: AdminSite, request: HttpRequest) -> Sequence[tuple[str, str]]:
        """Returns the link to the page of stale flags."""
        from flagstaff.cleanup.admin.flag_parts import flag_links  # noqa: PLC0415 (models first)

        return flag_links(site, request)

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
