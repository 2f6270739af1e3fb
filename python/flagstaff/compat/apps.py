from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, register
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp, OverviewLine, Retention

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

    from flagstaff._words.message import Message
    from flagstaff.admin.flag.parts.app_panels import AppPart
    from flagstaff.cli.support.verb import Verb


class CompatConfig(OptionalApp, AppConfig):
    name = "flagstaff.compat"
    label = "flagstaff_compat"
    verbose_name = _("Feature flags: django-waffle")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the check. Connects to waffle, unless the project has removed it."""
        register(_check_settings, "flagstaff")
        if apps.is_installed("waffle"):
            from flagstaff.compat.mirror import connect  # noqa: PLC0415 (models first)
            from flagstaff.compat.serve import install  # noqa: PLC0415 (models first)

            install()
            connect()
            post_migrate.connect(_compare_after_migrations, self, dispatch_uid="flagstaff.compat")

    def table_names(self) -> Mapping[str, str]:
        """Returns the table that workers write differences to; none without waffle."""
        if not apps.is_installed("waffle"):
            return {}
        return {"difference_table": self.get_model("Difference")._meta.db_table}

    def retentions(self) -> Sequence[Retention]:
        """Returns the differences between waffle and flagstaff."""
        from flagstaff.compat.differences import (  # noqa: PLC0415 (models first)
            DAYS,
            prune_in_batches,
        )

        return (Retention("differences", DAYS, prune_in_batches, by_setting=False),)

    def forget_user(self, pk: str) -> None:
        """Removes a deleted user from the examples of differences, and from rows of waffle."""
        from flagstaff.compat.differences import forget_user  # noqa: PLC0415 (models first)

        forget_user(pk)

    def overview_lines(self, site: AdminSite, request: HttpRequest) -> Sequence[OverviewLine]:
        """Returns the number of names that must be looked at. Makes one query."""
        from flagstaff.compat.differences_page import overview_lines  # noqa: PLC0415 (models first)

        return overview_lines(site, request)

    def flag_part(self) -> type[AppPart]:
        """Returns what the pages of flags say about flags that waffle evaluates."""
        from flagstaff.compat.flag_parts import WaffleFlag  # noqa: PLC0415 (models first)

        return WaffleFlag

    def plan_problem(self, key: str) -> Message | None:
        """Returns the problem that cookies of waffle decide about the percentage, or None."""
        from flagstaff.compat.cookies import plan_problem  # noqa: PLC0415 (models first)

        return plan_problem(key)

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs for the move from waffle."""
        from flagstaff.compat.cli import IMPORT_FROM  # noqa: PLC0415 (only commands need it)
        from flagstaff.compat.differences_verb import (  # noqa: PLC0415 (only commands need it)
            DIFFERENCES,
        )

        return (IMPORT_FROM, DIFFERENCES)


# Imported only where checks run, as those of flagstaff itself.
def _check_settings(**_: Any) -> list[CheckMessage]:
    from flagstaff.compat.checks import check_settings  # noqa: PLC0415

    return check_settings()


def _compare_after_migrations(**options: Any) -> None:
    from flagstaff.compat.migrated import warn_of_unwritten_rows  # noqa: PLC0415 (only commands)

    warn_of_unwritten_rows(**options)
