"""What a change of a flag would do, and whether it has to be confirmed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact, impact_of_change
from flagstaff._text.local_formats import local_number
from flagstaff.admin.consequence import Consequence, FlagState, consequence
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

__all__ = ["Planned", "impact_text", "planned"]

# A page waits so long for the count of users, in seconds.
_COUNT_TIMEOUT = 1.0


@dataclass(frozen=True)
class Planned:
    """A change of the fields that decide about results."""

    key: str
    before: FlagState
    after: FlagState
    #: None if the users cannot be counted in time, or at all.
    impact: ChangeImpact | None

    @property
    def consequence(self) -> Consequence:
        """What the change means for the users."""
        return consequence(self.before, self.after, self.impact)

    @property
    def text_to_type(self) -> str:
        """The key, if this change needs it to be typed; else an empty text."""
        is_most = self.consequence is Consequence.WIDENS_TO_MOST
        return self.key if is_most and conf.is_production else ""


def planned(key: str, before: FlagState, after: FlagState) -> Planned:
    """Returns what a change would do. Counts the users, for at most a second."""
    return Planned(key, before, after, _count(key, before, after))


def impact_text(change: Planned) -> str:
    """Returns the sentence that says how many users gain or lose the flag."""
    found = change.impact
    if change.before == change.after:
        return ""
    if found is None:
        return _("The users cannot be counted.")
    texts: Mapping[str, Any] = {
        "gain": local_number(found.gain),
        "lose": local_number(found.lose),
        "after": local_number(found.after),
        "users": local_number(found.users),
    }
    sentences = []
    if found.lose:
        text = ngettext(
            "%(lose)s user loses the flag.", "%(lose)s users lose the flag.", found.lose
        )
        sentences.append(text % texts)
    if found.gain:
        text = ngettext(
            "%(gain)s user gains the flag.", "%(gain)s users gain the flag.", found.gain
        )
        sentences.append(text % texts)
    if not sentences:
        sentences.append(_("No user gains or loses the flag."))
    sentences.append(_("Afterwards %(after)s of %(users)s users have it.") % texts)
    return " ".join(sentences)


def _count(key: str, before: FlagState, after: FlagState) -> ChangeImpact | None:
    if before.unit != after.unit or before == after:
        return None
    rules = None
    if before.rules != after.rules:
        rules = _json(before.rules), _json(after.rules)
    old, new = ((one.enabled, one.rollout_percent) for one in (before, after))
    try:
        return impact_of_change(key, old, new, rules, timeout=_COUNT_TIMEOUT)
    except FlagstaffError:
        return None


def _json(rules: Any) -> str | None:
    return json.dumps(rules) if rules else None
