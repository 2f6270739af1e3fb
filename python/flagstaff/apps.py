from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import pre_delete, pre_save

from flagstaff import _core
from flagstaff._attribution import note_load, wrap_connection
from flagstaff._declared import discover
from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.database import user_field
from flagstaff._tables.user_lookup import connect_group_signals
from flagstaff._text import say
from flagstaff.conf import all_settings, conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["FlagstaffConfig"]


class FlagstaffConfig(AppConfig):
    name = "flagstaff"
    label = "flagstaff"
    verbose_name = say("Feature flags").lazy
    default_auto_field = "django.db.models.BigAutoField"
    # Actions that wait use what an app can add, so the code of the others does not name them.
    flagstaff_hooks: ClassVar = {
        "actions": "flagstaff.waiting.actions.ACTIONS",
        "jobs": "flagstaff.waiting.running.WAITING",
        "retention": "flagstaff.waiting.stored.retention",
        "forget_user": "flagstaff.waiting.stored.forget_user",
        "verbs": "flagstaff.cli.verbs.waiting.VERBS",
    }

    def ready(self) -> None:
        """Registers the system checks, and reads the environment. Connects to no database."""
        # sys.modules is unique to an interpreter, so its id identifies this one.
        _core.claim_interpreter(id(sys.modules))
        # The start of the engine would import the modules of these settings, perhaps in a thread. A
        # child that is forked meanwhile would wait for their import for ever.
        all_settings()
        forced_off.read_environment()
        forced_on.read_environment()
        discover()
        connection_created.connect(wrap_connection, dispatch_uid="flagstaff")
        pre_delete.connect(_keep_used, "flagstaff.Segment", dispatch_uid="flagstaff")
        with suppress(ConfigurationError):  # a check reports it
            connect_group_signals(user_field(conf.flag_model).model)
            pre_delete.connect(_keep_used, conf.flag_model, dispatch_uid="flagstaff")
            for model in (conf.flag_model, conf.value_model, "flagstaff.Segment"):
                pre_save.connect(note_load, model, dispatch_uid="flagstaff")
        register(_check_project, "flagstaff")
        register(_check_databases, Tags.database)


# Imported only where flags and segments are deleted.
def _keep_used(instance: Model, using: str, origin: object = None, **_: Any) -> None:
    from flagstaff.changes.rule_use import keep_used  # noqa: PLC0415

    keep_used(instance, using, origin)


# Imported only where checks run: a worker of a server needs them never, and would keep them.
def _check_project(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    from flagstaff.checks import project_messages  # noqa: PLC0415

    return [*project_messages(databases)]


def _check_databases(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    from flagstaff.checks import database_messages  # noqa: PLC0415

    return [*database_messages(databases)]
