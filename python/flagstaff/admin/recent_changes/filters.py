"""The filters of the page, which are the parameters of its URL, and the strip that shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import cached_property, partial, reduce
from operator import or_
from typing import Literal, NamedTuple, cast
from urllib.parse import urlencode

from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from flagstaff._tables.model_fields import find_field
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import is_storable
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    about_key,
    has_text,
    keys_with,
    stored_actors,
)

# The fields of a user model that may hold a name, besides the username.
_NAME_FIELDS = ("first_name", "last_name", "email")
# The number of users whose name contains the text that are searched for.
_MAX_USERS = 50
# The names of the parameters.
_TEXT, _ACTOR, _KEY, _EXACT, _KIND, _ACTION = "q", "actor", "key", "exact", "kind", "action"
_TIME, _FROM, _TO, _RANGE = "time", "from", "to", "range"
_NAMES = (_TEXT, _ACTOR, _KEY, _EXACT, _KIND, _ACTION, _TIME, _FROM, _TO)
# The entries that say what happened to a row.
_ACTIONS = {"create": ["insert"], "delete": ["delete", "truncate"]}
_SHORT = timedelta(days=7)
KIND_LABELS = {
    Kind.FLAG: gettext_lazy("flag"),
    Kind.VALUE: gettext_lazy("value"),
    Kind.SEGMENT: gettext_lazy("segment"),
}
_ACTION_LABELS = {
    "create": pgettext_lazy("action", "created"),
    "change": pgettext_lazy("action", "changed"),
    "delete": pgettext_lazy("action", "deleted"),
}
# The hours and the label of the times that are a link.
_TIMES = {
    "1h": (1, gettext_lazy("Last hour")),
    "24h": (24, gettext_lazy("24 hours")),
    "7d": (7 * 24, gettext_lazy("7 days")),
}


class _Choice(NamedTuple):
    """A link of the strip."""

    label: str
    query: str
    is_current: bool = False


@dataclass(frozen=True)
class Filters:
    """The filters of a request."""

    #: The parameters of the URL by name, "" if not set. Times that are not valid stay as typed.
    parameters: Mapping[str, str]
    #: Whether the actor may also be a part of a name or an address.
    may_see_users: bool
    since: datetime | None
    until: datetime | None
    #: Sentences about times that are not valid.
    problems: tuple[str, ...]

    @property
    def query(self) -> str:
        """The parameters for links."""
        return urlencode(self._without())

    @property
    def kind(self) -> str:
        """The name of a kind of rows, or of an optional app; empty for all."""
        return self.parameters[_KIND]

    @property
    def action(self) -> Literal["create", "change", "delete"] | None:
        """What happened to the rows; None for everything."""
        action = self.parameters[_ACTION]
        return cast("Literal['create', 'change', 'delete']", action) if action else None

    @property
    def is_narrow(self) -> bool:
        """Whether the filters select an actor or a time, whose events may be undone together."""
        return bool(self.parameters[_ACTOR] or self.since or self.until)

    @property
    def is_short(self) -> bool:
        """Whether the time is short; it may be long ago."""
        if self.since is None or self.until is None:
            return False
        return self.until - self.since <= _SHORT

    @property
    def exact_key(self) -> str | None:
        """The present key of rows, or an earlier one."""
        return self.parameters[_KEY] or None if self.parameters[_EXACT] == "1" else None

    @property
    def key_part(self) -> str:
        """A part of the key, ignoring case."""
        return "" if self.parameters[_EXACT] == "1" else self.parameters[_KEY]

    @property
    def text(self) -> str:
        """A part of the key or of the reason, or an actor."""
        return self.parameters[_TEXT]

    @cached_property
    def actors(self) -> set[str] | None:
        """The actors as they are stored; None for all. Queries the users."""
        return self._actors(self.parameters[_ACTOR]) if self.parameters[_ACTOR] else None

    @cached_property
    def text_actors(self) -> set[str]:
        """The actors that the text may mean. Queries the users."""
        return self._actors(self.text) if self.text else set()

    def entries(self, kinds: Collection[Kind]) -> ChangeQuerySet:
        """Returns the entries of these kinds that meet all conditions. Queries the users."""
        kinds = [kind for kind in kinds if self.kind in {"", kind.value}]
        entries = Change.objects.of_kinds(kinds)
        if self.exact_key:
            entries = entries.filter(about_key(kinds, self.exact_key))
        if self.key_part:
            entries = entries.filter(key__in=keys_with(self.key_part))
        if self.since:
            entries = entries.since(self.since)
        if self.until:
            entries = entries.until(self.until)
        if self.actors is not None:
            entries = entries.filter(_made_by(self.actors, self.parameters[_ACTOR]))
        if self.text:
            entries = entries.filter(has_text(self.text) | _made_by(self.text_actors, self.text))
        if self.action == "change":
            entries = entries.filter(Q(action=Change.Action.UPDATE) | Q(relation=ALLOWED_USERS))
        elif self.action:
            rows = [kind.row_relation for kind in kinds]
            entries = entries.filter(action__in=_ACTIONS[self.action], relation__in=rows)
        return entries

    def _actors(self, text: str) -> set[str]:
        """Returns the actors that a text may mean: an actor or a username, or else parts of names.

        Those who may not see users can search by username only: it is what the page shows.
        """
        exact = stored_actors(text)
        if len(exact) > 1 or not is_storable(text):
            return exact
        named = partial(_users_named, text, _NAME_FIELDS if self.may_see_users else ())
        return exact | value_or_default("users cannot be searched", named, set[str]())

    # The strip.

    def strip(self, kinds: Mapping[str, str]) -> dict[str, object]:
        """Returns what the strip shows. `kinds` are labels by name."""
        return {
            "times": [
                _Choice(str(label), self._query({_FROM: "", _TO: "", _TIME: name}))
                for name, (_hours, label) in _TIMES.items()
                if name != self.parameters[_TIME]
            ],
            "kinds": self._choices(_KIND, {"": _("all kinds"), **kinds}),
            "actions": self._choices(_ACTION, {"": _("all actions"), **_ACTION_LABELS}),
            "chosen": self._chosen(kinds),
            # The parameters that each form keeps.
            "kept": {
                "text": self._without(_TEXT),
                "person": self._without(_ACTOR),
                "key": self._without(_KEY, _EXACT),
                "dates": self._without(_TIME, _FROM, _TO),
            },
        }

    def _choices(self, name: str, labels: Mapping[str, object]) -> list[_Choice]:
        chosen = self.parameters[name]
        return [
            _Choice(str(label), self._query({name: value}), value == chosen)
            for value, label in labels.items()
        ]

    def _chosen(self, kinds: Mapping[str, str]) -> list[_Choice]:
        """The filters that are set, with the query without them."""
        texts = self.parameters
        key = _("Key: exactly %(key)s") if texts[_EXACT] == "1" else _("Key: %(key)s")
        dates = f"{texts[_FROM]} … {texts[_TO]}".replace("T", " ").strip()
        _hours, time_label = _TIMES.get(texts[_TIME], (0, dates))
        shown = {
            (_ACTOR,): _("Person: %(name)s") % {"name": texts[_ACTOR]},
            (_KEY, _EXACT): key % {"key": texts[_KEY]},
            (_KIND,): _("Kind: %(kind)s") % {"kind": kinds.get(self.kind, self.kind)},
            (_ACTION,): capfirst(str(_ACTION_LABELS.get(texts[_ACTION], ""))),
            (_TIME, _FROM, _TO): str(time_label),
        }
        return [
            _Choice(text, urlencode(self._without(*names)))
            for names, text in shown.items()
            if texts[names[0]]
        ]

    def _query(self, changed: Mapping[str, str]) -> str:
        """The parameters with others."""
        return replace(self, parameters={**self.parameters, **changed}).query

    def _without(self, *names: str) -> list[tuple[str, str]]:
        """The parameters that are set, except these."""
        return [
            (name, text) for name, text in self.parameters.items() if text and name not in names
        ]


def filters_of(query: QueryDict, *, may_see_users: bool) -> Filters:
    """Reads the parameters of a URL. Unknown actions and times are no filters."""
    texts = {name: query.get(name, "").replace("\0", "").strip() for name in _NAMES}
    problems: list[str] = []
    since = until = None
    if texts[_ACTION] not in _ACTION_LABELS:
        texts[_ACTION] = ""
    if texts[_TIME] in _TIMES:
        since = timezone.now() - timedelta(hours=_TIMES[texts[_TIME]][0])
    elif texts[_TIME] == _RANGE or texts[_FROM] or texts[_TO]:
        texts[_TIME] = _RANGE
        since, until = (_time(texts[name], problems, end=name == _TO) for name in (_FROM, _TO))
    else:
        texts[_TIME] = ""
    return Filters(texts, may_see_users, since, until, tuple(problems))


def _time(text: str, problems: list[str], *, end: bool) -> datetime | None:
    """A time as a browser writes it, in the current time zone; a date is a whole day."""
    if not text:
        return None
    try:
        day = parse_date(text)
        if day is None:
            found = parse_datetime(text)
        else:
            found = datetime.combine(day + timedelta(days=1) if end else day, time.min)
        if found is not None:
            found = found if timezone.is_aware(found) else timezone.make_aware(found)
            # PostgreSQL knows no offset of 16 hours or more, which is a valid one of Python.
            return found.astimezone(timezone.get_default_timezone())
    except (ValueError, OverflowError):  # No day follows 9999-12-31.
        pass
    problem = _("“%(text)s” is not a time. Write it as 2026-11-22 14:30 or 2026-11-22.")
    problems.append(problem % {"text": text})
    return None


def _made_by(actors: Collection[str], name: str) -> Q:
    """The condition for entries of actors, or of a database user or a source without an actor."""
    by = Q(actor__in=actors)
    if not is_storable(name):
        return by
    return by | (Q(actor__isnull=True) & (Q(session_user=name) | Q(source=name)))


def _users_named(text: str, others: tuple[str, ...]) -> set[str]:
    users = actor_table()
    fields = [users.username_field, *(find_field(users.field.model, name) for name in others)]
    named = [Q(**{f"{field.name}__icontains": text}) for field in fields if field is not None]
    if not named:
        return set()
    found = users.rows.filter(reduce(or_, named)).order_by()
    return {str(pk) for pk in found.values_list(users.field.name, flat=True)[:_MAX_USERS]}
