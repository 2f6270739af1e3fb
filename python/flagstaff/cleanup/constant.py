"""Since when a flag has given every user the same result, by the changes in its history. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from flagstaff.cleanup.results import Configuration, constant_result

__all__ = ["AllowedUsersChange", "Constant", "RowChange", "constant_since"]


@dataclass(frozen=True)
class RowChange:
    """An entry of the history about the row of a flag."""

    at: datetime
    #: None if the entry lacks a column, such as one that was renamed later.
    before: Configuration | None
    after: Configuration | None
    is_creation: bool = False


@dataclass(frozen=True)
class AllowedUsersChange:
    """An entry of the history about the allowed users of a flag."""

    at: datetime
    added: int
    removed: int


@dataclass(frozen=True)
class Constant:
    """A period in which a flag has given every user the same result, up to now."""

    result: bool
    since: datetime
    #: False if the period may have begun earlier, because the history is shorter.
    is_exact: bool


def constant_since(
    configuration: Configuration,
    allowed: int,
    newest_first: Iterable[RowChange | AllowedUsersChange],
    *,
    unchanged_since: datetime | None,
) -> Constant | None:
    """Returns the period, or None if the result differs between users or is not known.

    `allowed` is the number of allowed users. A flag without an entry has not changed since
    `unchanged_since`; None if that is not known. The period is not known either if the newest entry
    is not about the present configuration, because then the history lacks a change. Changes of a
    disabled flag may be left out, as they change no result.
    """
    result = constant_result(configuration, has_allowed_users=allowed != 0)
    if result is None:
        return None
    since = unchanged_since
    is_newest = True
    for change in newest_first:
        since = change.at
        if isinstance(change, AllowedUsersChange):
            allowed += change.removed - change.added
        else:
            if is_newest and not _is_continued(change.after, configuration):
                return None
            is_newest = False
            if change.is_creation:
                return Constant(result, since, is_exact=True)
            if change.before is None:
                break
            configuration = change.before
        if constant_result(configuration, has_allowed_users=allowed != 0) is not result:
            return Constant(result, since, is_exact=True)
    return None if since is None else Constant(result, since, is_exact=False)


def _is_continued(after: Configuration | None, present: Configuration) -> bool:
    """Whether a change can be the newest one: a disabled flag may have changed since."""
    stayed_disabled = after is not None and not after.enabled and not present.enabled
    return after == present or stayed_disabled
