from __future__ import annotations

import sys

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.backends.signals import connection_created
from django.utils.translation import gettext_lazy as _

from flagstaff import _core, checks
from flagstaff._attribution.writes import wrap_connection
from flagstaff._engine.forced_off import read_environment

__all__ = ["FlagstaffConfig"]


class FlagstaffConfig(AppConfig):
    name = "flagstaff"
    label = "flagstaff"
    verbose_name = _("Feature flags")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks, and reads the environment. Connects to no database."""
        # sys.modules is unique to an interpreter, so its id identifies this one.
        _core.claim_interpreter(id(sys.modules))
        read_environment()
        connection_created.connect(wrap_connection, dispatch_uid="flagstaff")
        for check in checks.STATIC_CHECKS:
            register(check, "flagstaff")
        for check in checks.DATABASE_CHECKS:
            register(check, Tags.database)
