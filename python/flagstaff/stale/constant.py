"""Whether a flag gives every user the same result, and since when, by its history. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

_ALL = 100


@dataclass(frozen=True)
class Configuration:
    """The columns of a flag that decide its result, without the allowed users."""

    enabled: bool
    rollout_percent: int
    #: A list of rules; None for a model without rules. Anything else cannot be read.
    rules: object = None


def constant_result(configuration: Configuration, *, has_allowed_users: bool) -> bool | None:
    """Returns the result that every user gets, or None if it can differ between users.

    Rules that cannot be read can return anything. No condition is looked at: a rule that can grant
    or refuse the flag makes the result differ, even if it matches no user.
    """
    if not configuration.enabled:
        return False
    shares = _shares_of_rules(configuration.rules)
    shares.add(min(max(configuration.rollout_percent, 0), _ALL))
    if has_allowed_users:
        shares.add(_ALL)
    if shares == {_ALL}:
        return True
    return False if shares == {0} else None


def _shares_of_rules(rules: object) -> set[int | None]:
    """The percentages of the rules, with None for one that cannot be read."""
    if rules is None:
        return set()
    if not isinstance(rules, list):
        return {None}
    return {_share(rule) for rule in rules}


def _share(rule: object) -> int | None:
    # The engine reads a rule without a percentage as 100 %.
    percent = rule.get("rollout_percent", _ALL) if isinstance(rule, dict) else None
    return percent if type(percent) is int else None


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
