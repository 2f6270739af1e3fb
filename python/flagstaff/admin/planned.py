"""What a change of a flag would do, and whether it has to be confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact, impact_of_change, rules_as_text
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text.local_formats import local_number
from flagstaff.admin.consequence import Consequence, FlagState, consequence
from flagstaff.changes.segment_use import RULES
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

__all__ = ["Planned", "impact_text", "planned", "planned_edit"]

# The names of the fields that decide about results, in `FlagState`.
_STATE_NAMES = {
    "enabled": "enabled",
    "rollout_percent": "rollout_percent",
    RULES: "rules",
    BUCKET_BY: "unit",
}

# Seconds for which a page waits for the count of users.
_COUNT_TIMEOUT = 1.0


@dataclass(frozen=True)
class Planned:
    """A change of the fields that decide about results."""

    key: str
    before: FlagState
    after: FlagState
    #: None if the users cannot be counted in time, or at all.
    impact: ChangeImpact | None
    #: How many users become allowed users, which no count includes.
    added: int = 0

    @cached_property
    def consequence(self) -> Consequence:
        """What the change means for the users. Queries if there are added users."""
        found = consequence(self.before, self.after, self.impact)
        return max(found, _of_added(self.added)) if self.added and self.after.enabled else found

    @property
    def text_to_type(self) -> str:
        """The key, if this change needs it to be typed; else an empty text."""
        is_most = self.consequence is Consequence.WIDENS_TO_MOST
        return self.key if is_most and conf.is_production else ""


def planned(key: str, before: FlagState, after: FlagState) -> Planned:
    """Returns what a change would do. Counts the users, for at most a second."""
    return Planned(key, before, after, _count(key, before, after))


def planned_edit(flag: Any, fields: Mapping[str, object]) -> Planned | None:
    """Returns what new values of fields would do to the row of a flag, as `planned` does.

    Returns None if no field decides about results.
    """
    new = {_STATE_NAMES[name]: value for name, value in fields.items() if name in _STATE_NAMES}
    if not new:
        return None
    before = FlagState.of(flag)
    return planned(flag.key, before, before._replace(**new))  # type: ignore[arg-type]


def impact_text(change: Planned) -> str:
    """Returns the sentence that says how many users gain or lose the flag."""
    if change.before == change.after:
        return ""
    if change.impact is None:
        return _("The users cannot be counted.")
    found = change.impact
    texts = {name: local_number(getattr(found, name)) for name in ("gain", "lose", "after")}
    lose = ngettext("%(lose)s user loses the flag.", "%(lose)s users lose the flag.", found.lose)
    gain = ngettext("%(gain)s user gains the flag.", "%(gain)s users gain the flag.", found.gain)
    sentences = [
        *([lose] if found.lose else []),
        *([gain] if found.gain else []),
        *([] if found.gain or found.lose else [_("No user gains or loses the flag.")]),
        ngettext(
            "Afterwards %(after)s of %(users)s user has it.",
            "Afterwards %(after)s of %(users)s users have it.",
            found.users,
        ),
    ]
    text = " ".join(sentences) % {**texts, "users": local_number(found.users)}
    return _with_percentages(change, text)


def _of_added(count: int) -> Consequence:
    most = 2 * count
    is_most = allowed_user_table().rows.order_by()[:most].count() < most
    return Consequence.WIDENS_TO_MOST if is_most else Consequence.WIDENS


def _with_percentages(change: Planned, text: str) -> str:
    old, new = change.before.rollout_percent, change.after.rollout_percent
    if old == new:
        return text
    return _("%(old)s → %(new)s %%: %(text)s") % {"old": old, "new": new, "text": text}


def _count(key: str, before: FlagState, after: FlagState) -> ChangeImpact | None:
    if before.unit != after.unit or before == after:
        return None
    rules = None
    if before.rules != after.rules:
        rules = rules_as_text(before.rules), rules_as_text(after.rules)
    old, new = ((one.enabled, one.rollout_percent) for one in (before, after))
    try:
        return impact_of_change(key, old, new, rules, timeout=_COUNT_TIMEOUT)
    except FlagstaffError:
        return None
