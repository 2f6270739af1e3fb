"""How many users have a flag by each of its rules, and why the users of a rule are not counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flagstaff._engine.rule_columns import unknown_attributes
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.flag_states import FlagState
from flagstaff._words.rule_parts import ALL, places_of
from flagstaff._words.text import Text, marked, some

#: The numbers of users for whom a rule decides, of those who have the flag, and of further users
#: for whom it may decide.
_DecidedCounts: TypeAlias = tuple[int, int, int]
#: The numbers of users who have the flag, who may have it, and of allowed users; then those of each
#: rule, and those of the rollout. As the core returns it.
ReachCounts: TypeAlias = tuple[int, int, int, list[_DecidedCounts], _DecidedCounts]

# The attributes that a text lists.
_MAX_NAMES = 3

_COUNTED = marked("{on} of {users}")
_AT_LEAST = marked("at least {on} of {users}")


@dataclass(frozen=True)
class RuleReach:
    """The users for whom a rule decides, or the rollout."""

    #: The name of the rule; "" for one without a name, and for the rollout.
    name: str
    #: The percentage of these users who have the flag.
    rollout_percent: int
    #: How many users it certainly decides for, and how many of them have the flag.
    users: int
    on: int
    #: For how many further users it may decide.
    unsure: int
    #: The attributes that it reads and that only a call knows.
    unknown: tuple[str, ...] = ()
    #: What its percentage buckets by, if only a call knows it; "" if it is known or not needed.
    unknown_unit: str = ""
    #: Such as 'rule 2 ("beta")'; "" for the rollout.
    place: str = ""

    @property
    def text(self) -> Text:
        """The numbers as "9 of 90", or why there are none."""
        if self.unknown_unit:
            return Text(
                "not counted: {percent} % by {unit}",
                percent=self.rollout_percent,
                unit=self.unknown_unit,
            )
        if not self.unsure:
            return Text(_COUNTED, on=self.on, users=self.users)
        if self.unknown == (VISITOR,):
            return Text("not counted: visitors are not in the database")
        if self.unknown:
            return Text(
                "not counted: the call passes {names}",
                names=some((f"“{name}”" for name in self.unknown), _MAX_NAMES),
            )
        return Text("not counted: that depends on an earlier rule, whose users are not counted")

    def as_dict(self) -> dict[str, object]:
        """Returns the numbers as a dict that JSON can hold."""
        counts = {name: value for name, value in vars(self).items() if name != "place"}
        return {**counts, "unknown": list(self.unknown)}


@dataclass(frozen=True)
class Reach:
    """The users who have a flag in one state, by what decides for them."""

    #: How many users certainly have the flag.
    on: int
    #: How many further users may have it: that depends on attributes that only a call knows.
    unsure: int
    #: How many of those who have it are allowed users.
    allowed: int
    rules: tuple[RuleReach, ...]
    #: The users for whom no rule decides.
    others: RuleReach

    @classmethod
    def of(
        cls, counts: ReachCounts, state: FlagState, segments: Mapping[str, str], unknown_unit: str
    ) -> Reach:
        """Returns the numbers of a state. `segments` are JSON texts by key."""
        on, unsure, allowed, of_rules, of_others = counts
        unknown = unknown_attributes(state.rules, segments)
        # The core has no numbers of the rules after the last one that may decide for a user.
        of_rules = [*of_rules, *[(0, 0, 0)] * (len(unknown) - len(of_rules))]

        def unit_at(percent: int) -> str:
            return unknown_unit if 0 < percent < ALL else ""

        rules = []
        for (place, rule), decided, names in zip(
            places_of(state.rules), of_rules, unknown, strict=True
        ):
            name, percent = str(rule.get("name") or ""), rule.get("rollout_percent", ALL)
            rules.append(RuleReach(name, percent, *decided, names, unit_at(percent), place))
        percent = state.rollout_percent
        others = RuleReach("", percent, *of_others, unknown_unit=unit_at(percent))
        return cls(on, unsure, allowed, tuple(rules), others)

    @property
    def depends_on_calls(self) -> bool:
        """Whether some results depend on what only a call knows."""
        rules = (*self.rules, self.others)
        return self.unsure > 0 or any(rule.unknown or rule.unknown_unit for rule in rules)

    @property
    def texts(self) -> list[Text]:
        """The numbers of each rule, and of the users that no rule matches; empty without rules."""
        of_rules = [
            Text("{place}: {reach}", place=rule.place, reach=rule.text) for rule in self.rules
        ]
        return (
            [*of_rules, Text("no rule matches: {reach}", reach=self.others.text)]
            if of_rules
            else []
        )

    def text(self, users: int) -> Text:
        """The number of users who have the flag, of all `users`: "9 of 90", or at least that."""
        return Text(_AT_LEAST if self.unsure else _COUNTED, on=self.on, users=users)
