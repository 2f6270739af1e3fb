"""Changes flags: enable, disable, set_rollout, update, create, delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flagstaff._tables.flag_states import ALL_USERS
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import Fields, Row, flag_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._types import UserLike
from flagstaff._words.rule_parts import with_all_users
from flagstaff.changes.allowed_users import (
    ALLOWED,
    AllowedUsersChange,
    allowed_pks,
    change_allowed_users,
)
from flagstaff.changes.changed import Changed, Undo, undo_by_version
from flagstaff.changes.fields import touch
from flagstaff.changes.locking import locked_row, require_version
from flagstaff.changes.row_changes import create_row, delete_row, set_field, update_row
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.validators import is_percent, require_percent, rule_problem

# The undo command names the users, unless there are more than a person would type.
_MAX_TYPED = 20


def enable(key: str, *, expect_version: int | None = None) -> Changed:
    """Enables a flag. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return _set_enabled(key, expect_version, enabled=True)


def disable(key: str, *, expect_version: int | None = None) -> Changed:
    """Disables a flag for all users. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return _set_enabled(key, expect_version, enabled=False)


def set_rollout(key: str, percent: int, *, expect_version: int | None = None) -> Changed:
    """Sets the percentage of users who have a flag. A disabled flag stays disabled.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError if `percent` is not a whole
    number from 0 to 100.
    """
    require_percent(percent)

    def undo_arguments(old: object) -> tuple[str, ...] | None:
        return ("rollout", key, str(old)) if is_percent(old) else None

    return set_field(Kind.FLAG, key, "rollout_percent", percent, expect_version, undo_arguments)


def release_to_everybody(key: str, *, expect_version: int | None = None) -> Changed:
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


def rules_for_everybody(rules: object) -> list[dict[str, Any]]:
    """Returns the rules that `release_to_everybody` writes in the place of others."""
    return with_all_users(rules) if rule_problem(rules) is None else []


def update(
    key: str,
    fields: Fields,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
) -> Changed:
    """Changes several fields of a flag at once. `allowed_users` replaces the whole list.

    `expect` contains fields as you have read them. If one of them has changed since then, the call
    raises ConflictError; newer changes of other fields are kept. With `allowed_users` in `expect`,
    only the users in which the two lists differ are added and removed.

    A new `bucket_by` reassigns every user at once: some gain the flag, and others lose it.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError.
    """
    return update_row(Kind.FLAG, key, fields, expect_version, expect)


def create(key: str, **fields: Any) -> Changed:
    """Creates a flag: disabled, at 0 %, without allowed users, unless `fields` say otherwise.

    Does nothing if an equal flag exists. Raises InvalidChangeError if a different flag has the
    key, or if a field is not valid.
    """
    return create_row(Kind.FLAG, key, fields)


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a flag and its allowed users. Does nothing if it was deleted already.

    Raises UnknownFlagError if it never existed, or ConflictError.
    """
    return delete_row(Kind.FLAG, key, expect_version)


def add_allowed_users(
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
    table = allowed_user_table()
    pks = table.pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        existing = table.existing(pks) if skip_unknown else table.require(pks)
        present = allowed_pks(flag)
        change = AllowedUsersChange(
            added=tuple(pk for pk in pks if pk in existing and pk not in present),
            missing=tuple(pk for pk in pks if pk not in existing),
        )
        return _change(flag, change, expect_version)


def remove_allowed_users(
    key: str, users: UserLike | Iterable[UserLike], *, expect_version: int | None = None
) -> Changed:
    """Removes allowed users from a flag. Users who are not among them are ignored.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError for what cannot be a user.
    """
    pks = allowed_user_table().pks_of(users)
    with locked_row(Kind.FLAG, key) as flag:
        present = allowed_pks(flag)
        removed = tuple(pk for pk in pks if pk in present)
        return _change(flag, AllowedUsersChange(removed=removed), expect_version)


def undo(key: str, version: int | None = None, *, expect_version: int | None = None) -> Changed:
    """Undoes one event of a flag and its allowed users: that of the entry `version`, or the newest.

    Newer changes of other fields stay. Raises UnknownFlagError, NoHistoryError, ConflictError if
    the same fields were changed again, and InvalidChangeError for another version.
    """
    return undo_event(Kind.FLAG, key, version, expect_version=expect_version)


def restore(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a flag and its allowed users as the entry `to` left them: undoes all newer entries.

    A deleted flag gets its old primary key back. Users who no longer exist are left out and
    returned as `missing`. Raises as `undo`.
    """
    return restore_row(Kind.FLAG, key, to=to, expect_version=expect_version)


def _set_enabled(key: str, expect_version: int | None, *, enabled: bool) -> Changed:
    def undo_arguments(old: object) -> tuple[str, ...]:
        return ("on" if old else "off", key)

    return set_field(Kind.FLAG, key, "enabled", enabled, expect_version, undo_arguments)


def _change(flag: Row, change: AllowedUsersChange, expect_version: int | None) -> Changed:
    written = bool(change)
    if written:
        require_version(Kind.FLAG, flag.key, flag.pk, expect_version)
        change_allowed_users(flag, change)
        touch(flag)
    version = version_of(Kind.FLAG, flag.pk)
    return Changed(
        flag.key,
        ALLOWED,
        old=list(change.removed),
        new=list(change.added),
        written=written,
        version=version,
        undo=_undo(flag.key, change, version) if written else None,
        missing=change.missing,
    )


def _undo(key: str, change: AllowedUsersChange, version: int | None) -> Undo | None:
    typed = [str(pk) for pk in change.added or change.removed]
    if version and (len(typed) > _MAX_TYPED or any(pk.startswith("-") for pk in typed)):
        return undo_by_version(Kind.FLAG, key, version)
    return Undo(("disallow" if change.added else "allow", key, *typed))
