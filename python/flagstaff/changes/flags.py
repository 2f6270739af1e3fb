"""Flags: switched, ramped, edited, created, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagstaff.changes.changed import Changed
from flagstaff.changes.rows import create_row, delete_row, edit_row, set_field
from flagstaff.history.kinds import Kind
from flagstaff.validators import is_percent, require_percent

__all__ = ["create", "delete", "disable", "enable", "set_rollout", "update"]


def enable(key: str, *, expect_version: int | None = None) -> Changed:
    """Enable a flag. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return _set_enabled(key, expect_version, enabled=True)


def disable(key: str, *, expect_version: int | None = None) -> Changed:
    """Disable a flag: no user has it. Its rollout and its allowed users stay.

    Raises UnknownFlagError or ConflictError.
    """
    return _set_enabled(key, expect_version, enabled=False)


def set_rollout(key: str, percent: int, *, expect_version: int | None = None) -> Changed:
    """Roll a flag out to this share of all users. Its switch and its allow-list stay.

    Raises UnknownFlagError, ConflictError, or InvalidChangeError where `percent` is not a whole
    number from 0 to 100.
    """
    require_percent(percent)

    def back(old: Any) -> tuple[str, ...] | None:
        return ("rollout", key, str(old)) if is_percent(old) else None

    return set_field(Kind.FLAG, key, "rollout_percent", percent, expect_version, back)


def update(key: str, fields: Mapping[str, Any], *, expect_version: int | None = None) -> Changed:
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


def _set_enabled(key: str, expect_version: int | None, *, enabled: bool) -> Changed:
    # A project's own table may have held NULL, which no verb can set.
    back = {True: ("on", key), False: ("off", key)}
    return set_field(Kind.FLAG, key, "enabled", enabled, expect_version, back.get)
