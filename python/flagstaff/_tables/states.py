"""The states of flags and values: what decides which users get what, and the same in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from flagstaff._tables.rows import USER, VISITOR, Fields, short_unit
from flagstaff._text import Sentence, say
from flagstaff._text.rules import can_grant, partial_rules
from flagstaff.validators import rule_problem

#: The rollout of a flag for everyone, anonymous users included.
ALL_USERS = 100


@dataclass(frozen=True)
class FlagState:
    """The fields of a flag that decide about results, without the allowed users."""

    enabled: bool
    rollout_percent: int
    #: Whatever JSON SQL has written.
    rules: Any = field(default_factory=list)
    bucket_by: str = USER

    @classmethod
    def of(cls, flag: Any) -> FlagState:
        """Returns the state of a flag."""
        return cls(flag.enabled, flag.rollout_percent, flag.rules, flag.bucket_by)

    @classmethod
    def of_fields(cls, fields: Fields) -> FlagState:
        """Returns the state of a flag with these fields.

        A version from before a column was added lacks it, so the widest state is assumed.
        """
        enabled, percent = fields.get("enabled", True), fields.get("rollout_percent", ALL_USERS)
        return cls(enabled, percent, fields.get("rules", []), fields.get("bucket_by", USER))

    @property
    def has_rules(self) -> bool:
        """Whether the flag has rules, be they readable or not."""
        return bool(self.rules != [])

    @property
    def partial_rules(self) -> Sequence[tuple[Sentence, int]]:
        """The rules that give less than the rollout: places and percentages."""
        return [*partial_rules(self.rules, self.rollout_percent)] if self.enabled else []

    @property
    def is_for_everybody(self) -> bool:
        """Whether all users have the flag, also those that a rule matches."""
        is_whole = self.enabled and self.rollout_percent >= ALL_USERS
        if not (is_whole and self.has_rules):
            return is_whole
        # While workers cannot read the rules, they use older ones.
        return not self.partial_rules and rule_problem(self.rules) is None

    def reaches_users(self, allowed: Callable[[], int]) -> bool:
        """Whether the flag is on for some users. Calls `allowed` if only allowed users may have it.

        It returns the number of allowed users.
        """
        return self.enabled and (self.rollout_percent > 0 or can_grant(self.rules) or allowed() > 0)


class ReleaseState(Enum):
    """The users who have a flag. The value is the one of the filter `flags list --state`."""

    OFF = "off"
    ROLLOUT = "rollout"
    #: Enabled, with rules, unless these and the rollout are at 100 %.
    BY_RULES = "by-rules"
    ALL = "all"
    ALLOWED_USERS = "allowed-users"
    #: Enabled, at 0 %, without allowed users.
    NO_USERS = "no-users"


#: The labels of the states that have no percentage.
STATE_LABELS = {
    ReleaseState.OFF: say("off").lazy,
    ReleaseState.BY_RULES: say("by rules").lazy,
    ReleaseState.ALL: say("on for all").lazy,
    ReleaseState.ALLOWED_USERS: say("allowed users only").lazy,
    ReleaseState.NO_USERS: say("on for no users").lazy,
}


#: Those of a declared flag and a declared value without a row.
AS_DECLARED, DEFAULT = say("off, as declared").lazy, say("default").lazy


def state_of(flag: FlagState, allowed: int) -> ReleaseState:
    """Returns the state of a flag in one word. `allowed` is the number of its allowed users."""
    if not flag.enabled:
        return ReleaseState.OFF
    if flag.is_for_everybody:
        return ReleaseState.ALL
    if flag.has_rules:
        return ReleaseState.BY_RULES
    if flag.rollout_percent > 0:
        return ReleaseState.ROLLOUT
    return ReleaseState.ALLOWED_USERS if allowed else ReleaseState.NO_USERS


def _share(percent: int, unit: str) -> str:
    """Returns a translated percentage of what another unit than the user counts, for a label."""
    text = say("{percent} % of visitors") if unit == VISITOR else say("{percent} % by {unit}")
    return say(text, percent=percent, unit=short_unit(unit)).local


def _share_in_sentence(percent: int, unit: str) -> str:
    """Returns the same for a sentence, in which more words follow; of users the percentage only."""
    if unit == USER:
        return f"{percent} %"
    if unit == VISITOR:
        return _share(percent, unit)
    return say("{percent} % (by {unit})", percent=percent, unit=short_unit(unit)).local


def state_label(state: ReleaseState, flag: FlagState) -> str:
    """Returns the translated label of the state of a flag."""
    if state is not ReleaseState.ROLLOUT:
        return str(STATE_LABELS[state])
    if flag.bucket_by != USER:
        return _share(flag.rollout_percent, flag.bucket_by)
    return say("rollout {percent} %", percent=flag.rollout_percent).local


def state_summary(flag: FlagState, allowed: int) -> str:
    """Returns the translated sentence that says which users have a flag."""
    state, unit = state_of(flag, allowed), flag.bucket_by
    percent = flag.rollout_percent
    share = _share_in_sentence(percent, unit)
    if state is ReleaseState.BY_RULES:
        other_users = (
            say("on for {share}", share=share).local
            if percent
            else str(STATE_LABELS[ReleaseState.OFF])
        )
        return _by_rules(allowed, other_users)
    if state is ReleaseState.ROLLOUT and unit != USER:
        return _by_unit(allowed, share)
    if state is ReleaseState.ALL and flag.has_rules:
        return say("On for all users: the rollout and all rules are at 100 %.").local
    if state is ReleaseState.ROLLOUT and allowed:
        return say(
            "On for {percent} % of all users and {count} allowed user.",
            "On for {percent} % of all users and {count} allowed users.",
            count=allowed,
            percent=percent,
        ).local
    return {
        ReleaseState.OFF: say("Off for all users."),
        ReleaseState.ALL: say("On for all users, and for everybody who is not logged in."),
        ReleaseState.ROLLOUT: say("On for {percent} % of all users.", percent=percent),
        ReleaseState.ALLOWED_USERS: say(
            "On for {count} allowed user only.", "On for {count} allowed users only.", count=allowed
        ),
        ReleaseState.NO_USERS: say(
            "On for no users: the rollout is 0 % and there are no allowed users."
        ),
    }[state].local


def _by_rules(allowed: int, rest: str) -> str:
    if not allowed:
        return say("The rules decide; {rest} if no rule matches.", rest=rest).local
    return say(
        "On for {count} allowed user. For all others, the rules decide; {rest} if no rule matches.",
        "On for {count} allowed users. For all others, the rules decide; {rest} if no rule "
        "matches.",
        count=allowed,
        rest=rest,
    ).local


def _by_unit(allowed: int, share: str) -> str:
    if not allowed:
        return say("On for {share}.", share=share).local
    return say(
        "On for {share} and {count} allowed user.",
        "On for {share} and {count} allowed users.",
        count=allowed,
        share=share,
    ).local


@dataclass(frozen=True)
class ValueState:
    """The fields of a value that decide about results."""

    #: The value itself, which users have for whom no rule decides.
    value: Any
    #: Whatever JSON SQL has written.
    rules: Any = field(default_factory=list)
    bucket_by: str = USER
    #: Whether no text may show the value or what its rules give.
    is_secret: bool = False

    @classmethod
    def of(cls, row: Any) -> ValueState:
        """Returns the state of a row of VALUE_MODEL."""
        return cls(row.value, row.rules, row.bucket_by, row.secret)

    @property
    def has_rules(self) -> bool:
        """Whether the value has rules, be they readable or not."""
        return bool(self.rules != [])
