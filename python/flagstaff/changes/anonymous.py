"""What a change of a flag does to those who are not logged in, whom no count of users includes.

At 100 % a call without a user returns true, and below it false.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import USER, VISITOR, short_unit
from flagstaff._tables.flag_states import ALL_USERS, FlagState
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.rule_parts import anonymous_percent, named_segments


def anonymous_percents(before: FlagState, after: FlagState) -> tuple[int, int]:
    """Returns the rollouts for those who are not logged in. Queries the segments that rules name.

    It is that of a rule which they meet, or else that of the flag; 0 while the flag is off.
    """
    keys = {key for one in (before, after) for key, _place in named_segments(one.rules)}
    rows = all_rows(segment_model()).filter(key__in=keys).values_list("key", "conditions")
    segments = dict(rows) if keys else {}

    def percent(state: FlagState) -> int:
        by_rule = anonymous_percent(state.rules, segments) if state.enabled else 0
        return state.rollout_percent if by_rule is None else by_rule

    return percent(before), percent(after)


def anonymous_text(percents: tuple[int, int], unit: str) -> str:
    """Returns the sentence about those who gain or lose a flag without being logged in.

    It is empty if their rollout neither becomes 100 % nor was it. `unit` is the bucketing unit.
    """
    before, after = percents
    gains = before < ALL_USERS <= after
    if not gains and not after < ALL_USERS <= before:
        return ""
    texts = {"percent": after, "unit": short_unit(unit)}
    # Only a rollout between 0 and 100 % depends on the unit.
    if unit == USER or min(percents) == 0:
        text = (
            _("Everybody who is not logged in gains the flag.")
            if gains
            else _("Everybody who is not logged in loses the flag.")
        )
    elif unit == VISITOR:
        text = _("Afterwards %(percent)s %% of visitors have the flag, logged in or not.")
    else:
        text = (
            _("Everybody without “%(unit)s” gains the flag.")
            if gains
            else _("Everybody without “%(unit)s” loses the flag.")
        )
    return text % texts
