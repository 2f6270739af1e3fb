"""The state of a flag in the admin: its label, its sentence, and what a change means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._engine import forced_off
from flagstaff._engine.impact import NOT_COUNTED, ChangeImpact
from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.flag_states import (
    ALL_USERS,
    FlagState,
    ReleaseState,
    state_label,
    state_of,
    state_summary,
)
from flagstaff._tables.optional_fields import RULES
from flagstaff._words.text import Text, local_number, localized
from flagstaff.admin.confirmation import MAX_TEXT, PreviewRow
from flagstaff.changes.planned import user_counts
from flagstaff.history.describe import describe_value, field_label
from flagstaff.models import FeatureFlag

#: The number of allowed users, as an attribute of the flags of the list.
ALLOWED_COUNT = "allowed_count"
# In the place of numbers.
_NONE = "\N{EN DASH}"
_CSS_CLASSES = {
    ReleaseState.OFF: "off",
    ReleaseState.ROLLOUT: "partial",
    # For some users, like a rollout.
    ReleaseState.BY_RULES: "partial",
    ReleaseState.ALL: "on",
    ReleaseState.ALLOWED_USERS: "partial",
    ReleaseState.NO_USERS: "none",
}


def class_and_label(flag: FeatureFlag) -> tuple[str, str]:
    """Returns the CSS class and the label of the state of a flag in the list."""
    allowed: int = getattr(flag, ALLOWED_COUNT)
    state = FlagState.of(flag)
    if state.bucket_by != USER:
        # The column of the rollout shows the unit: a phone has no room for both.
        state = replace(state, bucket_by=USER)
    return _CSS_CLASSES[state_of(state, allowed)], state_label(state, allowed)


def preview(
    before: FlagState, after: FlagState, allowed: int, impact: ChangeImpact | None
) -> list[PreviewRow]:
    """Returns what a change of a flag means, and what the result depends on."""
    both = (before, after)
    has_rules = before.has_rules or after.has_rules
    has_unit = (before.bucket_by, after.bucket_by) != (USER, USER)
    users = local_number(allowed)
    return [
        PreviewRow(_("state"), *(state_label(state, allowed) for state in both)),
        *([PreviewRow(_("rules"), *map(rules_cell, both))] if has_rules else []),
        PreviewRow(_("rollout"), *(f"{state.rollout_percent} %" for state in both)),
        *(
            [PreviewRow(field_label(BUCKET_BY), before.bucket_by, after.bucket_by)]
            if has_unit
            else []
        ),
        PreviewRow(_("allowed users"), users, users),
        PreviewRow(_("who has the flag"), *(state_summary(state, allowed) for state in both)),
        *([] if impact is None else _users(impact, both if has_rules else ())),
    ]


def _users(impact: ChangeImpact, states: Sequence[FlagState]) -> list[PreviewRow]:
    """Returns the numbers of users, for each rule if there are `states` with rules."""
    sides = zip(states, (impact.before, impact.after), strict=False)
    by_rule = [
        "; ".join(map(localized, reach.texts if state.enabled else ())) or _NONE
        for state, reach in sides
    ]
    return [
        *([PreviewRow(_("users of each rule"), *by_rule)] if by_rule else []),
        PreviewRow(_("users with the flag"), *user_counts(impact)),
    ]


def counted_text(impact: ChangeImpact | str) -> str:
    """Returns how many users have the flag afterwards, or why they are not counted."""
    if isinstance(impact, ChangeImpact):
        return localized(impact.after.text(impact.users))
    if isinstance(impact, Text) and impact.english == NOT_COUNTED:
        # The message begins with the same words.
        impact = cast("str", impact.values["why"])
    return _("not counted: %(why)s") % {"why": localized(impact)}


def summary(flag: FeatureFlag, allowed: int, *, enabled: bool) -> str:
    """Returns the sentence that says which users have the flag."""
    return state_summary(replace(FlagState.of(flag), enabled=enabled), allowed)


def forced_off_notice(flag: FeatureFlag) -> str:
    """Returns the sentence that says that this process does not use the row; "" if it does."""
    if flag.key not in forced_off.keys:
        return ""
    return _("Forced off in this process by %(variable)s.") % {"variable": forced_off.VARIABLE}


def holds_users_back(flag: FeatureFlag) -> bool:
    """Whether an enabled flag has a rollout or a rule below 100 %."""
    state = FlagState.of(flag)
    return state.enabled and (state.rollout_percent < ALL_USERS or bool(state.partial_rules))


def partial_rule_notices(state: FlagState) -> list[str]:
    """Returns the sentences about rules that keep users out although the rollout is 100 %."""
    text = _("%(rule)s keeps %(percent)s %% of its users out, also at a rollout of 100 %%.")
    return [
        text % {"rule": capfirst(localized(place)), "percent": ALL_USERS - percent}
        for place, percent in state.partial_rules
    ]


def rules_cell(state: FlagState) -> str:
    """Returns the rules as sentences."""
    return (
        describe_value(state.rules, field=RULES, limit=MAX_TEXT)
        if state.has_rules
        else _("no rules")
    )
