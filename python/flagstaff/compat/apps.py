from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

if TYPE_CHECKING:
    from flagstaff.cli.support.verb import Verb


class CompatConfig(OptionalApp, AppConfig):
    name = "flagstaff.compat"
    label = "flagstaff_compat"
    verbose_name = _("Feature flags: django-waffle")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Replaces methods of waffle's models, unless the project has removed waffle."""
        if apps.is_installed("waffle"):
            from flagstaff.compat.serve import install  # noqa: PLC0415 (models first)

            install()

    def table_names(self) -> Mapping[str, str]:
        """Returns the table that workers write differences to."""
        return {"difference_table": self.get_model("Difference")._meta.db_table}

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs for the way from waffle."""
        return ()
