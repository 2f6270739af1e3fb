from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

if TYPE_CHECKING:
    from flagstaff.cli.support.verb import Verb

__all__ = ["CleanupConfig"]


class CleanupConfig(OptionalApp, AppConfig):
    name = "flagstaff.cleanup"
    label = "flagstaff_cleanup"
    verbose_name = _("Clean-up")
    default_auto_field = "django.db.models.BigAutoField"

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs of the clean-up."""
        from flagstaff.cleanup.cli import SNOOZE, STALE  # noqa: PLC0415 (only commands need it)

        return (STALE, SNOOZE)
