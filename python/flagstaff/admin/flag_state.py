"""The state of a flag in the admin: its label, and what turning it on changes."""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff._engine import forced_off
from flagstaff._engine.impact import impact_of_change
from flagstaff._tables.bucket_units import BUCKET_BY, USER, bucket_unit
from flagstaff._tables.states import State, state_label, state_of, state_summary
from flagstaff._text.local_formats import local_number
from flagstaff.admin.confirmation import MAX_TEXT, PreviewRow
from flagstaff.admin.flag_rules import count_rules
from flagstaff.changes.segment_use import RULES
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import describe_value, field_label
from flagstaff.models import FeatureFlag

__all__ = ["ALLOWED_COUNT", "class_and_label", "forced_off_notice", "preview_on", "summary"]

#: The number of allowed users, as an attribute of the flags of the list.
ALLOWED_COUNT = "allowed_count"
# The confirmation page waits so long for the count of users, in seconds.
_COUNT_TIMEOUT = 1.0
_CSS_CLASSES = {
    State.OFF: "off",
    State.ROLLOUT: "partial",
    State.ALL: "on",
    State.ALLOWED_USERS: "partial",
    State.NO_USERS: "none",
}


def class_and_label(flag: FeatureFlag) -> tuple[str, str]:
    """Returns the CSS class and the label of the state of a flag in the list."""
    allowed: int = getattr(flag, ALLOWED_COUNT)
    percent = flag.rollout_percent
    state = state_of(enabled=flag.enabled, rollout_percent=percent, allowed=allowed)
    by_rules = _has_rules(flag)
    # For some users, like a rollout.
    shown = State.ROLLOUT if by_rules and flag.enabled else state
    # Without the unit, which the column of the rollout shows: a phone has no room for both.
    return _CSS_CLASSES[shown], state_label(state, percent, by_rules=by_rules)


def preview_on(flag: FeatureFlag, allowed: int) -> list[PreviewRow]:
    """Returns what changes if the flag is turned on, and what the result depends on."""
    percent = flag.rollout_percent
    off, on = (
        state_of(enabled=one, rollout_percent=percent, allowed=allowed) for one in (False, True)
    )
    rollout, users, by_rules = f"{percent} %", local_number(allowed), _has_rules(flag)
    rules = describe_value(flag.rules, field=RULES, limit=MAX_TEXT) if by_rules else ""
    unit = bucket_unit(flag)
    labels = (state_label(one, percent, by_rules=by_rules, unit=unit) for one in (off, on))
    summaries = (
        state_summary(one, percent, allowed, by_rules=by_rules, unit=unit) for one in (off, on)
    )
    return [
        PreviewRow(_("state"), *labels),
        *([PreviewRow(_("rules"), rules, rules)] if by_rules else []),
        PreviewRow(_("rollout"), rollout, rollout),
        *([PreviewRow(field_label(BUCKET_BY), unit, unit)] if unit != USER else []),
        PreviewRow(_("allowed users"), users, users),
        PreviewRow(_("who has the flag"), *summaries),
        *_count_users(flag),
    ]


def summary(flag: FeatureFlag, allowed: int, *, enabled: bool) -> str:
    """Returns the sentence that says which users have the flag."""
    percent = flag.rollout_percent
    state = state_of(enabled=enabled, rollout_percent=percent, allowed=allowed)
    return state_summary(state, percent, allowed, by_rules=_has_rules(flag), unit=bucket_unit(flag))


def forced_off_notice(flag: FeatureFlag) -> str:
    """Returns the sentence that says that this process does not use the row; "" if it does."""
    if flag.key not in forced_off.keys:
        return ""
    return _("Forced off in this process by %(variable)s.") % {"variable": forced_off.VARIABLE}


def _count_users(flag: FeatureFlag) -> list[PreviewRow]:
    """How many users get the flag; nothing if they cannot be counted in time."""
    percent = flag.rollout_percent
    try:
        impact = impact_of_change(
            flag.key, (False, percent), (True, percent), timeout=_COUNT_TIMEOUT
        )
    except FlagstaffError:
        return []
    now, after = (
        _("%(count)s of %(users)s")
        % {"count": local_number(count), "users": local_number(impact.users)}
        for count in (0, impact.gain)
    )
    return [PreviewRow(_("users"), now, after)]


def _has_rules(flag: FeatureFlag) -> bool:
    return count_rules(flag) != 0
