from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.utils.translation import gettext_lazy as _

from flagstaff._extensions import OptionalApp

if TYPE_CHECKING:
    from flagstaff.cli.support.verb import Verb


class WaffleConfig(OptionalApp, AppConfig):
    name = "flagstaff.contrib.waffle"
    label = "flagstaff_waffle"
    verbose_name = _("Feature flags: django-waffle")

    def ready(self) -> None:
        """Registers the checks."""
        register(_check, "flagstaff")

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs for the move from waffle."""
        from flagstaff.contrib.waffle.cli import (  # noqa: PLC0415 (only commands need it)
            COMPARE_WAFFLE,
            IMPORT_WAFFLE,
        )

        return (IMPORT_WAFFLE, COMPARE_WAFFLE)


# Imported only where checks run, as those of flagstaff itself.
def _check(**_: Any) -> list[CheckMessage]:
    from flagstaff.contrib.waffle.checks import check_waffle  # noqa: PLC0415

    return check_waffle()
