"""A user whose flags and values are evaluated."""

from __future__ import annotations

from typing import Any

from flagstaff._tables.user_lookup import FoundUser


def label(user: FoundUser) -> str:
    """Returns the primary key and the username, as in "user 1 (alice)"."""
    has_name = user.name is not None and user.name != str(user.pk)
    return f"user {user.pk} ({user.name})" if has_name else f"user {user.pk}"


def evaluated_user(user: FoundUser | None) -> Any:
    """Returns the user to evaluate for; None for an anonymous one."""
    # Rules read the columns of the row. A primary key without a row is a user, too.
    return user and (user.pk if user.row is None else user.row)
