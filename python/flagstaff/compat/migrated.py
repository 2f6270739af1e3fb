"""Finds what migrations have changed in waffle's tables: they send no signals to the mirror."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError

from flagstaff._words.counted import counted
from flagstaff._words.lists import join_some
from flagstaff.compat.importing import Choices, plan_import
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_LOG = logging.getLogger("flagstaff")


def warn_of_unwritten_rows(using: str, **_: Any) -> None:
    """Logs the flags that waffle's rows would change; a receiver of `post_migrate`.

    Only if flagstaff serves some of them: then such a migration has no effect. A name that has not
    been imported is served by waffle.
    """
    settings = waffle_settings()
    if settings.serve is False or not settings.mirror or using != conf.database:
        return
    try:
        plan = plan_import(Choices(skip_refused=True, skip_unknown_users=True))
    except (DatabaseError, FlagstaffError) as error:
        # Other tables may not be there yet.
        _LOG.debug("waffle's rows cannot be compared after the migration: %s", error)
        return
    changed = {key for key, step in plan.steps.items() if step.action == "change"}
    served = {row.key for row in plan.rows if settings.serves(row.row.name)}
    keys = sorted(changed & served)
    if keys:
        _LOG.warning(
            "%s served from flagstaff, and waffle's rows say otherwise, perhaps since a "
            "migration: %s; to write the rows here, run manage.py flags import-from waffle",
            counted(len(keys), "flag is", "flags are"),
            join_some(keys),
        )
