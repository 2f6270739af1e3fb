"""Impacts of changes, as if users had been counted."""

from __future__ import annotations

from flagstaff._engine.impact import ChangeImpact
from flagstaff._engine.reach import Reach, RuleReach


def change_impact(users: int, gain: int, lose: int, after: int, *, unsure: int = 0) -> ChangeImpact:
    """Returns the impact on a flag without rules. `unsure` users may have the flag afterwards."""
    before = after - gain + lose
    return ChangeImpact(users, gain, lose, reach(before), reach(after, unsure=unsure))


def reach(on: int, *, unsure: int = 0) -> Reach:
    """Returns the reach of a flag without rules."""
    return Reach(on, unsure, 0, (), RuleReach("", 0, on, on, unsure))
