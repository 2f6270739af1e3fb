"""Changes values."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction

from flagstaff._attribution.context import current_actor
from flagstaff._stored_value_schema import SECRET
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import Fields
from flagstaff.changes.changed import Changed
from flagstaff.changes.preview import is_preview
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.models import WaitingAction

__all__ = [
    "create",
    "delete",
    "restore",
    "set",
    "undo",
    "update",
]


def set(  # noqa: A001 (as in the terminal)
    key: str, value: object, *, everyone: bool = False, expect_version: int | None = None
) -> Changed:
    """Sets a value to anything that JSON can hold, except None.

    Users for whom a rule decides keep the value of the rule, as `kept_by_rules` of the result says.
    With `everyone`, the rules are removed, too, so that all users get the value.

    Raises UnknownValueError, ConflictError, or InvalidChangeError if JSON cannot hold it.
    """
    fields = {"value": value, RULES: []} if everyone else {"value": value}
    return update_row(Kind.VALUE, key, fields, expect_version=expect_version)


def update(
    key: str,
    fields: Fields,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
) -> Changed:
    """Changes several fields of a value's row at once. `expect` works as in `update`.

    If the value becomes secret, the arguments of actions that wait for it are deleted, and the
    results of those that have run. Raises UnknownValueError, ConflictError, or InvalidChangeError.
    """
    with transaction.atomic(using=conf.database):
        changed = update_row(Kind.VALUE, key, fields, expect_version=expect_version, expect=expect)
        if changed.written and changed.secret and SECRET in fields and not is_preview():
            waiting = WaitingAction.objects.using(conf.database).of_row(Kind.VALUE.value, key)
            why = "the value has become secret"
            waiting.cancel(current_actor(), why)
            # Of those that have run, the result has the value, too.
            waiting.update(arguments={}, result=why)
        return changed


def create(key: str, value: object, **fields: Any) -> Changed:
    """Creates a value. Does nothing if an equal one exists.

    Raises InvalidChangeError if a different value, a flag or an experiment has the key, or if a
    field is not valid.
    """
    return create_row(Kind.VALUE, key, {"value": value, **fields})


#: `delete(key, *, expect_version=None)` deletes a value, so that `get_value` returns its default.
delete = partial(delete_row, Kind.VALUE)
#: `undo(key, version=None, *, without=(), expect_version=None)` undoes one event of a value.
undo = partial(undo_event, Kind.VALUE)
#: `restore(key, *, to, without=(), expect_version=None)` restores a value as of the entry `to`.
restore = partial(restore_row, Kind.VALUE)
