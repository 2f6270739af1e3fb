"""Flags: switched, ramped, edited, created, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagstaff.changes.changed import Changed
from flagstaff.changes.rows import create_row, delete_row, edit_row, set_field
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.validators import is_percent, require_percent

__all__ = ["create", "delete", "edit", "ramp", "switch"]


def switch(
    key: str,
    enabled: bool,  # noqa: FBT001 (the state is all that is said)
    *,
    expect_version: int | None = None,
) -> Changed:
    """Turn a flag on or off. Its rollout and its allow-list stay.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError where `enabled` is not a bool.
    """
    if not isinstance(enabled, bool):
        raise InvalidChangeError(f"a switch is True or False, not {enabled!r}")
    # Of a project's own table it may have been NULL, which no verb sets.
    back = {True: ("on", key), False: ("off", key)}
    return set_field(Kind.FLAG, key, "enabled", enabled, expect_version, back.get)


def ramp(key: str, percent: int, *, expect_version: int | None = None) -> Changed:
    """Roll a flag out to this share of all users. Its switch and its allow-list stay.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError where `percent` is not a whole
    number from 0 to 100.
    """
    require_percent(percent)

    def back(old: Any) -> tuple[str, ...] | None:
        return ("ramp", key, str(old)) if is_percent(old) else None

    return set_field(Kind.FLAG, key, "rollout_percent", percent, expect_version, back)


def edit(key: str, fields: Mapping[str, Any], *, expect_version: int | None = None) -> Changed:
    """Change several fields of a flag at once; `allowed_users` is the whole list.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError.
    """
    return edit_row(Kind.FLAG, key, fields, expect_version)


def create(key: str, **fields: Any) -> Changed:
    """Create a flag: off, at 0 %, for nobody, unless the fields say something else.

    Where there is one like it already, nothing is written. Raises InvalidChangeError where there
    is another one of this key, or where a field is not valid.
    """
    return create_row(Kind.FLAG, key, fields)


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Delete a flag and its allow-list. Where that was done already, nothing is written.

    Raises UnknownFlagError where there never was one, or ConflictError.
    """
    return delete_row(Kind.FLAG, key, expect_version)
