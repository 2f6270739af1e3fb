"""What a change of a flag would do, and whether it has to be confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact, impact_of_change
from flagstaff._engine.segment_impact import EnabledFlag, impact_of_enabling
from flagstaff._tables.flag_states import ALL_USERS, FlagState
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import Text, local_number, localized
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks_of
from flagstaff.changes.anonymous import anonymous_percents, anonymous_text
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import Consequence, consequence
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_STATE_FIELDS = frozenset(one.name for one in dataclass_fields(FlagState))
#: The fields that decide which users have a flag, the allowed users included.
DECIDING_FIELDS = _STATE_FIELDS | {ALLOWED}
#: Seconds for which a page waits for the count of users.
COUNT_TIMEOUT = 1.0


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
    #: The rollouts for anonymous users, whom no count includes either, before and after.
    anonymous: tuple[int, int] = (0, 0)

    @property
    def keys(self) -> Sequence[str]:
        """The key of the flag, as the plan of segments has those of several."""
        return [self.key]

    @cached_property
    def consequence(self) -> Consequence:
        """What the change means for the users. Queries if there are added users."""
        before, after = self.anonymous
        if before < ALL_USERS <= after:
            return Consequence.WIDENS_TO_MOST
        found = consequence(self.before, self.after, self.impact)
        if not (self.added and self.after.enabled):
            return found
        return max(found, consequence_of_added(self.added))

    @property
    def anonymous_text(self) -> str:
        """The sentence about anonymous users; empty unless they gain or lose the flag."""
        return anonymous_text(self.anonymous, self.after.bucket_by)

    @property
    def text_to_type(self) -> str:
        """The key, if this change needs it to be typed; else an empty text."""
        return text_to_type(self.keys, self.consequence)


def planned(
    key: str, before: FlagState, after: FlagState, *, timeout: float = COUNT_TIMEOUT
) -> Planned:
    """Returns what a change would do. Counts the users, for at most `timeout` seconds."""
    impact = _count(key, before, after, timeout)
    return Planned(key, before, after, impact, anonymous=anonymous_percents(before, after))


def present_impact(flag: Any, *, timeout: float = COUNT_TIMEOUT) -> ChangeImpact | None:
    """Returns the effect of turning a flag on as it is: the users who have it, by each rule.

    Returns None if the users cannot be counted in `timeout` seconds, or at all.
    """
    now = FlagState.of(flag)
    off, on = replace(now, enabled=False), replace(now, enabled=True)
    return _count(flag.key, off, on, timeout, flag.pk)


def enabling_impacts(
    flags: Sequence[Any], *, timeout: float = COUNT_TIMEOUT
) -> list[ChangeImpact | str]:
    """Returns the effect of turning on each of several flags as they are, in their order.

    Makes a few queries, however many flags there are. A message says why users are not counted.
    """
    states = [replace(FlagState.of(flag), enabled=True) for flag in flags]
    if len(flags) == 1:
        # For one flag, this is the faster count.
        [flag], [on] = flags, states
        off = replace(on, enabled=False)
        try:
            return [impact_of_change(flag.key, off, on, timeout=timeout, pk=flag.pk)]
        except FlagstaffError as error:
            return [error.message]
    allowed = allowed_pks_of(flags)
    enabled = [
        EnabledFlag(flag.key, state, allowed[flag.pk])
        for flag, state in zip(flags, states, strict=True)
    ]
    return impact_of_enabling(enabled, timeout=timeout)


def planned_edit(
    flag: Any, fields: Mapping[str, object], *, timeout: float = COUNT_TIMEOUT
) -> Planned | None:
    """Returns what new values of fields would do to the row of a flag, as `planned` does.

    Returns None if no field decides about results.
    """
    if _STATE_FIELDS.isdisjoint(fields):
        return None
    before = FlagState.of(flag)
    after = FlagState.of_fields({**vars(before), **fields})
    return planned(flag.key, before, after, timeout=timeout)


def planned_change(
    flag: Any, changed: Changed, *, timeout: float = COUNT_TIMEOUT
) -> Planned | None:
    """Returns what a change, or the preview of one, does to the users, as `planned` does.

    `flag` is the row before, None for a flag that is created. Returns None if the change does not
    decide about results, and if it deletes the flag.
    """
    fields = {changed.field: changed.new} if changed.field else changed.new
    if not fields or (flag is None and changed.old is not None):
        return None
    if flag is None:
        after = FlagState.of_fields(fields)
        created = planned(changed.key, replace(after, enabled=False), after, timeout=timeout)
        return replace(created, added=len(fields.get(ALLOWED) or ()))
    plan = planned_edit(flag, fields, timeout=timeout)
    if ALLOWED not in fields:
        return plan
    state = FlagState.of(flag)
    # A count compares two states of a flag with the same allowed users.
    plan = plan or Planned(flag.key, state, state, None)
    return replace(plan, impact=None, added=len(fields[ALLOWED]))


def text_to_type(keys: Sequence[str], consequence: Consequence) -> str:
    """Returns what a person types to confirm a change of these rows; empty if nothing."""
    return text_for_many(keys) if consequence is Consequence.WIDENS_TO_MOST else ""


def text_for_many(keys: Sequence[str]) -> str:
    """Returns what a person types before a change of several rows; empty outside production.

    It is the key of a single row, or the name of the environment for several rows.
    """
    environment = conf.environment
    if environment is None or not environment.production:
        return ""
    return keys[0] if len(keys) == 1 else environment.name


def impact_text(change: Planned) -> str:
    """Returns the sentences that say who gains or loses the flag."""
    if change.before == change.after:
        return ""
    sentences = (_counted(change), change.anonymous_text)
    return " ".join(filter(None, sentences))


def _counted(change: Planned) -> str:
    found = change.impact
    if found is None:
        return localized(Text("The users cannot be counted."))
    numbers = {"gain": found.gain, "lose": found.lose, "after": found.after.on}
    texts = {name: local_number(number) for name, number in numbers.items()}
    sentences = _exact(found) if found.is_exact else _at_least(found)
    text = " ".join(sentences) % {**texts, "users": local_number(found.users)}
    return _with_percentages(change, text)


def _exact(found: ChangeImpact) -> list[str]:
    lose = ngettext("%(lose)s user loses the flag.", "%(lose)s users lose the flag.", found.lose)
    gain = ngettext("%(gain)s user gains the flag.", "%(gain)s users gain the flag.", found.gain)
    return [
        *([lose] if found.lose else []),
        *([gain] if found.gain else []),
        *([] if found.gain or found.lose else [_("No user gains or loses the flag.")]),
        ngettext(
            "Afterwards %(after)s of %(users)s user has it.",
            "Afterwards %(after)s of %(users)s users have it.",
            found.users,
        ),
    ]


def _at_least(found: ChangeImpact) -> list[str]:
    lose = ngettext(
        "At least %(lose)s user loses the flag.",
        "At least %(lose)s users lose the flag.",
        found.lose,
    )
    gain = ngettext(
        "At least %(gain)s user gains the flag.",
        "At least %(gain)s users gain the flag.",
        found.gain,
    )
    return [
        *([lose] if found.lose else []),
        *([gain] if found.gain else []),
        ngettext(
            "Afterwards at least %(after)s of %(users)s user has it.",
            "Afterwards at least %(after)s of %(users)s users have it.",
            found.users,
        ),
        _("Not all users can be counted, because rules read attributes that only a call knows."),
    ]


def user_counts(impact: ChangeImpact | None) -> tuple[str, str]:
    """Returns how many users have the flag before and after, each as "3 of 20"."""
    if impact is None:
        return _("not counted"), _("not counted")
    return localized(impact.before.text(impact.users)), localized(impact.after.text(impact.users))


def consequence_of_added(count: int) -> Consequence:
    """Returns the consequence of `count` more allowed users of an enabled flag. Makes a query."""
    most = 2 * count
    is_most = allowed_user_table().rows.order_by()[:most].count() < most
    return Consequence.WIDENS_TO_MOST if is_most else Consequence.WIDENS


def _with_percentages(change: Planned, text: str) -> str:
    old, new = change.before.rollout_percent, change.after.rollout_percent
    if old == new:
        return text
    return _("%(old)s → %(new)s %%: %(text)s") % {"old": old, "new": new, "text": text}


def _count(
    key: str, before: FlagState, after: FlagState, timeout: float, pk: object = None
) -> ChangeImpact | None:
    if before.bucket_by != after.bucket_by or before == after or timeout <= 0:
        return None
    try:
        return impact_of_change(key, before, after, timeout=timeout, pk=pk)
    except FlagstaffError:
        return None
