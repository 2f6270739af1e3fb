"""The filters of the page, which are the parameters of its URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, reduce
from operator import or_
from typing import Literal, cast
from urllib.parse import urlencode

from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from flagstaff._extensions import EventQuery
from flagstaff._tables.model_fields import find_field
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.storable import is_storable
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.history.kinds import Kind
from flagstaff.history.selection import Selection, stored_actors

# The fields of a user model that may hold a name, besides the username.
_NAME_FIELDS = ("first_name", "last_name", "email")
# The number of users whose name contains the text that are searched for.
_MAX_USERS = 50
_NO_USERS: set[str] = set()
#: The names of the parameters.
ACTOR, KEY, EXACT, KIND, ACTION = "actor", "key", "exact", "kind", "action"
TIME, FROM, TO = "time", "from", "to"
_NAMES = (ACTOR, KEY, EXACT, KIND, ACTION, TIME, FROM, TO)
_RANGE = "range"
KIND_LABELS = {
    Kind.FLAG: gettext_lazy("flag"),
    Kind.VALUE: gettext_lazy("value"),
    Kind.SEGMENT: gettext_lazy("segment"),
}
_ACTIONS = {
    "create": pgettext_lazy("action", "created"),
    "change": pgettext_lazy("action", "changed"),
    "delete": pgettext_lazy("action", "deleted"),
}
_HOURS = {"1h": 1, "24h": 24, "7d": 7 * 24}
_TIMES = {
    "1h": gettext_lazy("last hour"),
    "24h": gettext_lazy("last 24 hours"),
    "7d": gettext_lazy("last 7 days"),
    _RANGE: gettext_lazy("from … to …"),
}


def matching_actors(text: str, *, may_see_users: bool) -> set[str]:
    """Returns the actors that a text may mean: an actor or a username, or else parts of names.

    Those who may not see users can search by username only: it is what the page shows.
    """
    exact = stored_actors(text)
    if len(exact) > 1 or not is_storable(text):
        return exact
    others = _NAME_FIELDS if may_see_users else ()
    return exact | value_or_default(
        "users cannot be searched", lambda: _with_name(text, others), _NO_USERS
    )


def _with_name(text: str, others: tuple[str, ...]) -> set[str]:
    users = actor_table()
    username = users.username_field
    names = [username.name] if username else []
    names += [name for name in others if find_field(users.field.model, name) and name not in names]
    if not names:
        return set()
    named = reduce(or_, (Q(**{f"{name}__icontains": text}) for name in names))
    pks = users.rows.filter(named).order_by().values_list(users.field.name, flat=True)
    return {str(pk) for pk in pks[:_MAX_USERS]}


@dataclass(frozen=True)
class Choice:
    """An option of a select."""

    value: str
    label: str
    is_selected: bool


@dataclass(frozen=True)
class Filters:
    """The filters of a request. Texts that are not valid stay as they were typed."""

    actor: str
    #: Whether `actor` may also be a part of a name or an address.
    may_see_users: bool
    key: str
    is_exact: bool
    kind: str
    action: str
    time: str
    since_text: str
    until_text: str
    since: datetime | None
    until: datetime | None
    #: Sentences about texts that are not valid.
    problems: tuple[str, ...]
    #: The parameters for links.
    query: str

    @property
    def is_narrow(self) -> bool:
        """Whether the filters select an actor or a time, whose events may be undone together."""
        return bool(self.actor or self.since or self.until)

    def selection(self, kinds: Collection[Kind]) -> Selection:
        """Returns the conditions for the history. Queries the users."""
        chosen = [kind for kind in kinds if self.kind in {"", kind.value}]
        return Selection(
            kinds=chosen,
            key=self.key if self.key and self.is_exact else None,
            key_part=self.key if self.key and not self.is_exact else None,
            since=self.since,
            until=self.until,
            actors=self._actors,
            without_actor=self.actor or None,
            action=cast("Literal['create', 'change', 'delete'] | None", self.action or None),
        )

    def event_query(self, since: datetime | None, until: datetime | None) -> EventQuery:
        """Returns the conditions for optional apps, between two times. Queries the users."""
        return EventQuery(
            key=self.key if self.key and self.is_exact else None,
            key_part=self.key if self.key and not self.is_exact else None,
            since=_latest(since, self.since),
            until=_earliest(until, self.until),
            actors=self._actors,
        )

    @cached_property
    def _actors(self) -> set[str] | None:
        """The stored actors that are selected. Queries the users once."""
        return matching_actors(self.actor, may_see_users=self.may_see_users) if self.actor else None


def filters_of(query: QueryDict, *, may_see_users: bool) -> Filters:
    """Reads the parameters of a URL."""
    texts = {name: query.get(name, "").replace("\0", "").strip() for name in _NAMES}
    problems: list[str] = []
    since = until = None
    if texts[TIME] in _HOURS:
        since = timezone.now() - timedelta(hours=_HOURS[texts[TIME]])
    elif texts[TIME] == _RANGE or texts[FROM] or texts[TO]:
        texts[TIME] = _RANGE
        since, until = (_time(texts[name], problems, end=name == TO) for name in (FROM, TO))
    return Filters(
        actor=texts[ACTOR],
        may_see_users=may_see_users,
        key=texts[KEY],
        is_exact=texts[EXACT] == "1",
        kind=texts[KIND],
        action=texts[ACTION] if texts[ACTION] in _ACTIONS else "",
        time=texts[TIME] if texts[TIME] in _TIMES else "",
        since_text=texts[FROM],
        until_text=texts[TO],
        since=since,
        until=until,
        problems=tuple(problems),
        query=urlencode([(name, text) for name, text in texts.items() if text]),
    )


def choices(filters: Filters, kinds: Mapping[str, str]) -> dict[str, Sequence[Choice]]:
    """Returns the options of the selects, by their name. `kinds` are labels by name."""
    return {
        KIND: _options(kinds, filters.kind, _("all kinds")),
        ACTION: _options(_ACTIONS, filters.action, _("all actions")),
        TIME: _options(_TIMES, filters.time, _("any time")),
    }


def _options(labels: Mapping[str, object], selected: str, everything: str) -> list[Choice]:
    pairs = {"": everything, **labels}
    return [Choice(value, str(label), value == selected) for value, label in pairs.items()]


def _time(text: str, problems: list[str], *, end: bool) -> datetime | None:
    """A time as a browser writes it, in the current time zone; a date is a whole day."""
    if not text:
        return None
    try:
        time = parse_datetime(text)
        day = parse_date(text) if time is None else None
        if len(text) == len("2026-11-22") and (day or time):
            moment = datetime(*(day or time).timetuple()[:3])  # type: ignore[union-attr]  # noqa: DTZ001
            time = moment + timedelta(days=1) if end else moment
    except (ValueError, OverflowError):  # No day follows 9999-12-31.
        time = None
    if time is None:
        text_ = _("“%(text)s” is not a time. Write it as 2026-11-22 14:30 or 2026-11-22.")
        problems.append(text_ % {"text": text})
        return None
    return time if timezone.is_aware(time) else timezone.make_aware(time)


def _latest(*times: datetime | None) -> datetime | None:
    return max((aware(time) for time in times if time is not None), default=None)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((aware(time) for time in times if time is not None), default=None)
