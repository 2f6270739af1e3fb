"""Changes values."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flagstaff._tables.rows import RULES, Fields, Kind
from flagstaff._types import NewValueFields, ValueFields
from flagstaff.changes.async_twins import async_twin
from flagstaff.changes.fields import Changed
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.changes.undo import restore_row, undo_event

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "acreate",
    "adelete",
    "arestore",
    "aset",
    "aundo",
    "aupdate",
    "create",
    "delete",
    "restore",
    "set",
    "undo",
    "update",
]


def __dir__() -> list[str]:
    return __all__


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
    fields: Fields | None = None,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
    **named_fields: Unpack[ValueFields],
) -> Changed:
    """Changes several fields of a value at once.

        changes.values.update("page_size", value=20, type="integer")

    `fields` has any fields by name, also those of your own VALUE_MODEL. `expect` works as in
    `changes.flags.update`.

    Raises UnknownValueError, ConflictError, or InvalidChangeError.
    """
    fields = {**(fields or {}), **named_fields}
    return update_row(Kind.VALUE, key, fields, expect_version=expect_version, expect=expect)


def create(
    key: str,
    value: object,
    fields: Fields | None = None,
    **named_fields: Unpack[NewValueFields],
) -> Changed:
    """Creates a value. Does nothing if an equal one exists.

        changes.values.create("page_size", 20, type="integer")

    `fields` has fields by name, as for `update`.
    Raises InvalidChangeError if a different value, a flag or an experiment has the key, or if a
    field is not valid.
    """
    return create_row(Kind.VALUE, key, {"value": value, **(fields or {}), **named_fields})


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a value: `changes.values.delete("page_size")`. Does nothing the second time.

    Raises UnknownValueError if it never existed, ConflictError.
    """
    return delete_row(Kind.VALUE, key, expect_version=expect_version)


def undo(
    key: str,
    version: int | None = None,
    *,
    without: Collection[str] = (),
    expect_version: int | None = None,
) -> Changed:
    """Undoes an event of a value: `changes.values.undo("page_size")`. As `changes.flags.undo`."""
    return undo_event(Kind.VALUE, key, version, without=without, expect_version=expect_version)


def restore(
    key: str, *, to: int, without: Collection[str] = (), expect_version: int | None = None
) -> Changed:
    """Restores a value as the entry `to` left it: `changes.values.restore("page_size", to=42)`.

    It undoes the newer entries. `without` works, and it raises, as `undo`.
    """
    return restore_row(Kind.VALUE, key, to=to, without=without, expect_version=expect_version)


acreate = async_twin(create)
adelete = async_twin(delete)
arestore = async_twin(restore)
aset = async_twin(set)
aundo = async_twin(undo)
aupdate = async_twin(update)
