"""Whether a flag gives every user the same result. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_ALL = 100


@dataclass(frozen=True)
class Configuration:
    """The columns of a flag that decide its result, without the allowed users."""

    enabled: bool
    rollout_percent: int
    #: A list of rules; None without rules. Anything else cannot be read.
    rules: object = None


@dataclass(frozen=True)
class Constant:
    """A period in which a flag has given every user the same result, up to now."""

    result: bool
    since: datetime
    #: False if the period may have begun earlier.
    is_exact: bool


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
