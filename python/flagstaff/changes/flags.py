"""Changes flags."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import transaction

from flagstaff._attribution.context import current_actor, current_source
from flagstaff._tables.flag_states import ALL_USERS
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import flag_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._types import UserLike
from flagstaff.changes.allowed_users import allowed_pks, users_to_change
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import locked_row
from flagstaff.changes.preview import is_preview
from flagstaff.changes.row_changes import (
    change_row,
    create_row,
    delete_row,
    update_row,
)
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.conf import conf
from flagstaff.extensions import NEW_FLAGS
from flagstaff.history.kinds import Kind
from flagstaff.models import WaitingAction
from flagstaff.validators import require_percent, rule_problem

__all__ = [
    "allow",
    "create",
    "delete",
    "disable",
    "disallow",
    "enable",
    "release",
    "restore",
    "set_rollout",
    "undo",
    "update",
]


#: `update(key, fields, *, expect_version=None, expect=None)` changes several fields at once.
update = partial(update_row, Kind.FLAG)
#: `delete(key, *, expect_version=None)` deletes a flag and its allowed users.
delete = partial(delete_row, Kind.FLAG)


def enable(key: str, *, expect_version: int | None = None) -> Changed:
    """Enables a flag. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return update(key, {"enabled": True}, expect_version=expect_version)


def disable(key: str, *, expect_version: int | None = None) -> Changed:
    """Disables a flag for all users. Its rollout and its allowed users stay.

    No action that waits turns it on again: it is refused because of the new version, or cancelled
    if the flag was disabled already. Raises UnknownFlagError or ConflictError.
    """
    with transaction.atomic(using=conf.database):
        changed = update(key, {"enabled": False}, expect_version=expect_version)
        # An action that has waited does not cancel itself.
        has_waited = current_source().startswith(f"{WaitingAction.SOURCE} ")
        if not (changed.written or is_preview() or has_waited):
            # The flag is locked, so that none of them can be running.
            waiting = WaitingAction.objects.using(conf.database).of_row(Kind.FLAG.value, key)
            waiting.cancel(current_actor(), "the flag was disabled again")
        return changed


def set_rollout(key: str, percent: int, *, expect_version: int | None = None) -> Changed:
    """Sets the percentage of users who have a flag. A disabled flag stays disabled.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError if `percent` is not a whole
    number from 0 to 100.
    """
    require_percent(percent)
    return update(key, {"rollout_percent": percent}, expect_version=expect_version)


def release(key: str, *, expect_version: int | None = None) -> Changed:
    """Gives a flag to all users: enables it, with a rollout of 100 %, also in each of its rules.

    A rule below 100 % keeps users out whatever the rollout is. The rules stay for a later rollback.
    If they cannot be read, all of them are removed.

    Raises UnknownFlagError or ConflictError.
    """
    flag = flag_row(key)
    fields = {
        "enabled": True,
        "rollout_percent": ALL_USERS,
        RULES: rules_for_everybody(flag.rules),
    }
    return update(key, fields, expect_version=expect_version, expect={RULES: flag.rules})


def rules_for_everybody(rules: Any) -> list[dict[str, Any]]:
    """Returns the rules that `release` writes in the place of others."""
    readable = rules if rule_problem(rules) is None else []
    return [{**rule, "rollout_percent": ALL_USERS} for rule in readable]


def create(key: str, **fields: Any) -> Changed:
    """Creates a flag: disabled, at 0 %, without allowed users, unless `fields` say otherwise.

    Enabled if code of the project decides who has it: creating it takes it from nobody. Does
    nothing if an equal flag exists. Raises InvalidChangeError if a different flag has the key, or
    if a field is not valid.
    """
    if "enabled" not in fields:
        fields = {name: value for new in NEW_FLAGS for name, value in new(key).items()} | fields
    return create_row(Kind.FLAG, key, fields)


def allow(
    key: str,
    users: UserLike | Iterable[UserLike],
    *,
    expect_version: int | None = None,
    skip_unknown: bool = False,
) -> Changed:
    """Adds allowed users to a flag. `users` is one user or many, each a user or a primary key.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError if one of them does not exist.
    With `skip_unknown`, those are left out instead and returned as `missing`.
    """
    pks = allowed_user_table().pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        present = allowed_pks(flag)
        change = users_to_change(present, [*present, *pks], skip_unknown=skip_unknown)
        return change_row(Kind.FLAG, flag, {}, change, expect_version)


def disallow(
    key: str, users: UserLike | Iterable[UserLike], *, expect_version: int | None = None
) -> Changed:
    """Removes allowed users from a flag. Users who are not among them are ignored.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError for what cannot be a user.
    """
    pks = allowed_user_table().pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        present = allowed_pks(flag)
        change = users_to_change(present, present.difference(pks))
        return change_row(Kind.FLAG, flag, {}, change, expect_version)


#: `undo(key, version=None, *, without=(), expect_version=None)` undoes one event of a flag.
undo = partial(undo_event, Kind.FLAG)
#: `restore(key, *, to, without=(), expect_version=None)` restores a flag as the entry `to` left it.
restore = partial(restore_row, Kind.FLAG)
