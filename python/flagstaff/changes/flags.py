"""Changes flags."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flagstaff._attribution import current_actor, current_source
from flagstaff._tables.database import db
from flagstaff._tables.rows import RULES, Fields, Kind, all_rows
from flagstaff._tables.states import ALL_USERS
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._types import FlagFields, UserLike
from flagstaff.changes.async_twins import async_twin
from flagstaff.changes.fields import AllowedUsersChange, Changed, allowed_pks, users_to_change
from flagstaff.changes.locking import block_of_change, locked_row
from flagstaff.changes.row_changes import (
    change_row,
    create_row,
    delete_row,
    update_row,
)
from flagstaff.changes.row_states import expectation, is_preview
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.conf import conf
from flagstaff.models import WaitingAction
from flagstaff.validators import require_percent, rule_problem

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "aallow",
    "acreate",
    "adelete",
    "adisable",
    "adisallow",
    "aenable",
    "allow",
    "arelease",
    "arestore",
    "aset_rollout",
    "aundo",
    "aupdate",
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


def __dir__() -> list[str]:
    return __all__


def update(
    key: str,
    fields: Fields | None = None,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
    **named_fields: Unpack[FlagFields],
) -> Changed:
    """Changes several fields of a flag at once.

        changes.flags.update("new_checkout", owner="checkout", rules=[])
        changes.flags.update("new_checkout", {"team": 3})

    `fields` has any fields by name, such as those of your own FLAG_MODEL; type checkers know those
    of flagstaff as arguments. `allowed_users` replaces the whole list. A new `bucket_by` reassigns
    every user at once: some gain the flag, and others lose it.

    `expect` contains fields as you have read them. If one of them has changed since then, the call
    raises ConflictError; newer changes of other fields are kept. With `allowed_users` in `expect`,
    only the users in which the two lists differ are added and removed.

    After `enabled=False`, no action that waits gives the flag to users: it ends because of the
    change, or is cancelled if the flag was disabled already. All previews of the flag end, too.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError.
    """
    fields = {**(fields or {}), **named_fields}
    if fields.get("enabled") is not False:
        return update_row(Kind.FLAG, key, fields, expect_version=expect_version, expect=expect)
    with block_of_change():
        changed = update_row(Kind.FLAG, key, fields, expect_version=expect_version, expect=expect)
        if not changed.written and not is_preview():
            # Writes the row again, which ends what browsers preview: also of a flag that is off.
            all_rows(conf.flag_model).filter(key=changed.key).update(enabled=False)
        # An action that has waited does not cancel those after it.
        has_waited = current_source().startswith(f"{WaitingAction.SOURCE} ")
        is_seen = changed.written and "enabled" in (changed.new or {})
        # Of rows as they are expected at a time, nothing is cancelled.
        if is_seen or has_waited or expectation() is not None:
            return changed
        # The flag is locked, so that none of them can be running.
        cancelled = WaitingAction.objects.using(db.alias).cancel_giving(
            Kind.FLAG.value,
            key,
            current_actor(),
            "the flag was turned off again",
            is_preview=is_preview(),
        )
        return replace(changed, cancelled=cancelled)


def enable(key: str, *, expect_version: int | None = None) -> Changed:
    """Enables a flag. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return update(key, {"enabled": True}, expect_version=expect_version)


def disable(key: str, *, expect_version: int | None = None) -> Changed:
    """Disables a flag for all users. Its rollout and its allowed users stay.

    No action that waits turns it on again. Raises UnknownFlagError or ConflictError.
    """
    return update(key, {"enabled": False}, expect_version=expect_version)


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
    with locked_row(Kind.FLAG, key) as locked:
        rules = rules_for_everybody(getattr(locked.row, RULES))
        fields = {"enabled": True, "rollout_percent": ALL_USERS, RULES: rules}
        return change_row(Kind.FLAG, locked, fields, AllowedUsersChange(), expect_version)


def rules_for_everybody(rules: Any) -> list[dict[str, Any]]:
    """Returns the rules that `release` writes in the place of others. A full one stays as it is."""
    readable = rules if rule_problem(rules) is None else []
    return [
        {**rule, "rollout_percent": ALL_USERS} if "rollout_percent" in rule else rule
        for rule in readable
    ]


def create(key: str, fields: Fields | None = None, **named_fields: Unpack[FlagFields]) -> Changed:
    """Creates a flag: disabled, at 0 %, without allowed users, unless the fields say otherwise.

        changes.flags.create("new_checkout", description="One page", rollout_percent=5)

    Enabled if code of the project decides who has it: creating it takes it from nobody. `fields`
    has fields by name, as for `update`. Does nothing if an equal flag exists. Raises
    InvalidChangeError if a different flag has the key, or if a field is not valid.
    """
    return create_row(Kind.FLAG, key, {**(fields or {}), **named_fields})


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
    with locked_row(Kind.FLAG, key, expect_version) as locked:
        present = allowed_pks(locked.row)
        change = users_to_change(present, [*present, *pks], skip_unknown=skip_unknown)
        return change_row(Kind.FLAG, locked, {}, change, expect_version)


def disallow(
    key: str, users: UserLike | Iterable[UserLike], *, expect_version: int | None = None
) -> Changed:
    """Removes allowed users from a flag. Users who are not among them are ignored.

    Raises UnknownFlagError, ConflictError, and InvalidChangeError for what cannot be a user.
    """
    pks = allowed_user_table().pks_of(users)
    with locked_row(Kind.FLAG, key, expect_version) as locked:
        present = allowed_pks(locked.row)
        change = users_to_change(present, present.difference(pks))
        return change_row(Kind.FLAG, locked, {}, change, expect_version)


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a flag and its allowed users. Does nothing if it was deleted already.

        changes.flags.delete("new_checkout")

    Raises UnknownFlagError if it never existed, or ConflictError.
    """
    return delete_row(Kind.FLAG, key, expect_version=expect_version)


def undo(
    key: str,
    version: int | None = None,
    *,
    without: Collection[str] = (),
    expect_version: int | None = None,
) -> Changed:
    """Undoes the event of a flag that has this version; by default the newest event.

        changes.flags.undo("new_checkout")

    `without` names fields to leave out, because their old values no longer fit: they stay as they
    are. Without a version, leaves out what `loaddata` wrote. Raises UnknownFlagError,
    NoHistoryError, ConflictError if a later event has changed the same again, and
    InvalidChangeError for what cannot be written again, or without a version if the newest event is
    an undo.
    """
    return undo_event(Kind.FLAG, key, version, without=without, expect_version=expect_version)


def restore(
    key: str, *, to: int, without: Collection[str] = (), expect_version: int | None = None
) -> Changed:
    """Restores a flag and its allowed users as the entry `to` left it: undoes the newer entries.

        changes.flags.restore("new_checkout", to=version)

    A deleted flag gets its old primary key back. Users who no longer exist are left out and
    returned as `missing`. `without` works, and it raises, as `undo`.
    """
    return restore_row(Kind.FLAG, key, to=to, without=without, expect_version=expect_version)


aallow = async_twin(allow)
acreate = async_twin(create)
adelete = async_twin(delete)
adisable = async_twin(disable)
adisallow = async_twin(disallow)
aenable = async_twin(enable)
arelease = async_twin(release)
arestore = async_twin(restore)
aset_rollout = async_twin(set_rollout)
aundo = async_twin(undo)
aupdate = async_twin(update)
