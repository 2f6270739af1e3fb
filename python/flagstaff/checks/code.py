"""The check of the project's code: keys that it uses, but neither it nor the database has."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import DatabaseError

from flagstaff._code.project import (
    KnownKeys,
    all_keys,
    declared_keys,
    is_test,
    project_uses,
    shown,
    stored_keys,
)
from flagstaff._tables.database import db
from flagstaff.conf import conf


def unknown_keys_in_code(databases: Collection[str] | None) -> Iterator[CheckMessage]:
    """Yields the uses of unknown keys, only for `manage.py check`, once code declares a key.

    With the database of the flags, its rows count, too.
    """
    keys = declared_keys()
    if sys.argv[1:2] != ["check"] or not any(keys.values()):
        return
    # The newest Django names all databases if the command names none.
    if db.alias in (databases or ()) and any(text.startswith("--database") for text in sys.argv):
        try:
            keys = all_keys(stored_keys())
        except DatabaseError:  # another check reports it
            return
    known = KnownKeys(keys, conf.allowed_keys)
    for use in project_uses():
        if problem := known.problem(use):
            text, hint = f"{shown(use.path)}:{use.line}: {problem}", _HINT
            if is_test(use):
                yield Warning(text, hint=hint, id="flagstaff.W064")
            else:
                yield Error(text, hint=hint, id="flagstaff.E063")


_HINT = (
    "correct it, or declare it in the flags.py of an app; if the key exists in the database alone, "
    'run "check --database", or add it to ALLOWED_KEYS in FLAGSTAFF'
)
