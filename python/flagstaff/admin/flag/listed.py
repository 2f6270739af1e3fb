"""What the list of flags knows of all flags: read once, filtered and counted in Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.db import connections
from django.db.models import JSONField, QuerySet, TextField, Value
from django.db.models.functions import Cast, NullIf
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.usage import NOT_USED, KeyUsage, key_usage
from flagstaff._tables.flag_states import STATE_LABELS, FlagState, ReleaseState, state_of
from flagstaff._tables.names import own_names, query
from flagstaff._tables.tags import usable_tags
from flagstaff._words.times import aware, local_days
from flagstaff.admin.app_pages import FlagNote
from flagstaff.admin.cells import newest_change_cells
from flagstaff.admin.fallbacks import once, value_or_default
from flagstaff.admin.flag.state import alarms_of, notes_of_apps, only_allowed_users
from flagstaff.admin.links import BACK
from flagstaff.conf import conf
from flagstaff.stale import stale_flags

#: The choices of flags that are on for any users, and of those that a person should look at.
ENABLED, ATTENTION = "on", "attention"
#: The choice of flags whose owner is the user of the request. No owner begins like this.
OWNED_BY_ME = "@me"
#: A long time, in days, for flags that nobody changes or evaluates.
LONG = 30
#: The choice of flags that were not changed for a long time.
UNCHANGED = f"not-{LONG}d"
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# The order of the states, most interesting first.
_STATES = [
    *(ReleaseState.ROLLOUT, ReleaseState.BY_RULES, ReleaseState.ALLOWED_USERS),
    *(ReleaseState.ALL, ReleaseState.NO_USERS, ReleaseState.OFF),
]


@dataclass(eq=False, slots=True)
class ListedFlag:
    """What the filters, the shortcuts and the order know of a flag."""

    pk: Any
    key: str
    enabled: bool
    rollout_percent: int
    owner: str
    changed_at: datetime
    #: JSON; None for none.
    rules: str | None
    tags: str | None
    #: Whether there are allowed users, of a flag that nobody else has.
    has_users: bool
    state: ReleaseState = ReleaseState.OFF
    #: The time of its newest entry in the history, or else that of the row, in seconds.
    changed: float = 0.0
    #: The id of the newest entry in the history.
    version: int | None = None
    #: What a person should look at, and what is good to know.
    notes: Sequence[FlagNote] = ()
    needs_attention: bool = False


_Test = Callable[[ListedFlag], bool]
# The choices of a filter: their texts, and the flags that each has.
_Options = Mapping[str, tuple[str, _Test]]


class Flags:
    """All flags that the user may see, as one request has read them."""

    def __init__(self, request: HttpRequest, admin: Any) -> None:
        """Reads the flags, their newest entries, and what the apps say of them."""
        self.request, self.admin = request, admin
        self._rows: QuerySet[Any] = admin.get_queryset(request).order_by()
        # Most flags have neither. As texts, no function is called for each of those.
        texts = (
            Cast(NullIf(name, Value([], JSONField())), TextField()) for name in ("rules", "tags")
        )
        columns = ("pk", "key", "enabled", "rollout_percent", "owner", "changed_at", *texts)
        rows = self._rows.values_list(*columns, only_allowed_users(admin.model))
        self.all = [ListedFlag(*row) for row in rows]
        notes = notes_of_apps(request, self.all)
        pks = [str(flag.pk) for flag in self.all]
        newest: Mapping[str, tuple[int | None, float]] = value_or_default(
            "the history of flags cannot be read", partial(newest_entries, pks), {}
        )
        for pk, flag in zip(pks, self.all, strict=True):
            rules = json.loads(flag.rules) if flag.rules else []
            state = FlagState(flag.enabled, flag.rollout_percent, rules)
            flag.state = state_of(state, flag.has_users)
            flag.version, flag.changed = newest.get(pk) or (None, _seconds(flag.changed_at))
            if said := [*notes.get(pk, ()), *alarms_of(flag.key, state)]:
                flag.notes, flag.needs_attention = said, any(note.is_alarm for note in said)

    @cached_property
    def usage(self) -> Mapping[str, KeyUsage]:
        """The usage of all keys. Most lists need that of a page only."""
        return _usage_of(self.all)

    def last_use(self, flag: ListedFlag) -> float:
        """Returns when a flag was last used in any way, in seconds; 0 if it never was."""
        found = self.usage.get(flag.key, NOT_USED)
        times = found.last_evaluated_at, found.served_in_bulk_at, found.served_to_browsers_at
        return max((_seconds(at) for at in times if at is not None), default=0)

    @property
    def sort_keys(self) -> Mapping[str, Callable[[ListedFlag], Any]]:
        """What each column is sorted by."""
        return {
            "flag": lambda flag: flag.key,
            "state": lambda flag: (_STATES.index(flag.state), flag.rollout_percent),
            "usage": self.last_use,
            "changed": lambda flag: -flag.changed,
            "owned_by": lambda flag: (flag.owner.casefold(), flag.key),
        }

    def rows_of(self, flags: Sequence[ListedFlag]) -> list[Any]:
        """Returns the rows of a page, with all that its columns show as attributes."""
        usage, versions = _usage_of(flags), [flag.version for flag in flags if flag.version]
        read = partial(newest_change_cells, versions)
        changed: Mapping[str, str] = value_or_default("entries cannot be read", read, {})
        found = self.admin.get_queryset(self.request).in_bulk([flag.pk for flag in flags])
        rows, may_write = [], not conf.read_only
        # The list, with its search, filters and page.
        back = urlencode({BACK: f"{self.request.get_full_path()}#"})
        for flag in (one for one in flags if one.pk in found):
            row = found[flag.pk]
            row.listed, row.usage_of_day = flag, usage.get(flag.key, NOT_USED)
            row.newest_change = changed.get(str(flag.pk), "")
            # A row of the query set is not hidden.
            row.may_toggle = may_write and self.admin.has_toggle_permission(self.request, row)
            row.back = back
            rows.append(row)
        return rows

    # The choices of the filters.

    def states(self) -> _Options:
        """The states, all flags that are on, and those that a person should look at."""
        labels = {**STATE_LABELS, ReleaseState.ROLLOUT: _("in rollout")}
        return {
            ATTENTION: (_("needs attention"), lambda flag: flag.needs_attention),
            ENABLED: (pgettext("state of a flag", "on"), lambda flag: flag.enabled),
            **{
                state.value: (str(labels[state]), partial(_has, "state", state))
                for state in _STATES
            },
        }

    def owners(self) -> _Options:
        """The owners; nothing if no flag has one."""
        owners = sorted({flag.owner for flag in self.all} - {""}, key=str.casefold)
        if not owners:
            return {}
        me = self.request.user.get_username().casefold()
        return {
            OWNED_BY_ME: (_("owned by me"), lambda flag: flag.owner.casefold() == me),
            **{owner: (owner, partial(_has, "owner", owner)) for owner in owners},
            "": (_("without an owner"), partial(_has, "owner", "")),
        }

    def tags(self) -> _Options:
        """The tags."""
        tags = {tag for flag in self.all for tag in _tags_of(flag)}
        return {tag: (tag, partial(_has_tag, tag)) for tag in sorted(tags, key=str.casefold)}

    def changes(self) -> _Options:
        """Periods with a change, and a long one without."""
        texts = {f"{count}h": (_hours_text(count), count * _HOUR) for count in (1, 24)}
        for days in (7, LONG):
            text = _("in the last %(days)s") % {"days": local_days(days)}
            texts[f"{days}d"] = text, days * _DAY
        long_ago = _ago(LONG * _DAY)
        return {
            **{
                name: (text, partial(_is_changed_since, _ago(period)))
                for name, (text, period) in texts.items()
            },
            UNCHANGED: (_not_in(LONG), lambda flag: flag.changed < long_ago),
        }

    def unused(self) -> _Options:
        """Periods without an evaluation, and the flags that are probably no longer needed."""
        found: dict[str, tuple[str, _Test]] = {}
        if is_counted():
            for days in (7, LONG):
                found[f"{days}d"] = _not_in(days), partial(self._is_unused, _ago(days * _DAY))
            found["never"] = _("never"), lambda flag: not self.last_use(flag)
        return {**found, "stale": (_("stale"), lambda flag: str(flag.pk) in self._stale)}

    def _is_unused(self, since: float, flag: ListedFlag) -> bool:
        return self._created[flag.pk] < since and self.last_use(flag) < since

    @cached_property
    def _created(self) -> Mapping[Any, float]:
        return {pk: _seconds(at) for pk, at in self._rows.values_list("pk", "created_at")}

    @cached_property
    def _stale(self) -> set[str]:
        return {flag.facts.pk for flag in stale_flags()}


def _has(name: str, value: object, flag: ListedFlag) -> bool:
    return bool(getattr(flag, name) == value)


def _has_tag(tag: str, flag: ListedFlag) -> bool:
    return tag in _tags_of(flag)


def _tags_of(flag: ListedFlag) -> Collection[str]:
    return usable_tags(json.loads(flag.tags)) if flag.tags else ()


def _is_changed_since(since: float, flag: ListedFlag) -> bool:
    return flag.changed >= since


def _hours_text(count: int) -> str:
    text = ngettext("in the last %(count)s hour", "in the last %(count)s hours", count)
    return text % {"count": count}


def _not_in(days: int) -> str:
    return _("not in the last %(days)s") % {"days": local_days(days)}


def _ago(period: timedelta) -> float:
    return _seconds(timezone.now() - period)


def _seconds(at: datetime) -> float:
    return aware(at).timestamp()


def newest_entries(pks: Sequence[str]) -> dict[str, tuple[int | None, float]]:
    """Returns the id and the time of the newest entry of each flag that has one. One query."""
    connection = connections[conf.database]
    if not is_postgresql(connection):
        return {}
    given = {"pks": pks, "table": connection.ops.quote_name(conf.flag_model._meta.db_table)}
    rows = query(connection, "newest_entries_v1", own_names(connection), given)
    return {pk: (version, at) for pk, version, at in rows}


def is_counted() -> bool:
    """Whether evaluations can be counted. Does not query."""
    return conf.usage_interval != 0 and is_postgresql(connections[conf.database])


def _usage_of(flags: Sequence[ListedFlag]) -> Mapping[str, KeyUsage]:
    """Returns the usage of a day by key. One query."""
    if not (flags and is_counted()):
        return {}
    read = partial(key_usage, [flag.key for flag in flags], timezone.now() - _DAY)
    return value_or_default("the usage of flags cannot be read", read, {})


def flags_of(request: HttpRequest, model_admin: Any) -> Flags:
    """Returns the flags of the list. Reads them once for a request."""
    return once(request, "flags", partial(Flags, request, model_admin))


class FlagFilter(admin.SimpleListFilter):
    """A filter by one test for each choice. Without choices, Django does not show it."""

    options: ClassVar[Callable[[Flags], _Options]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The choices."""
        self._flags = flags_of(request, model_admin)
        self._options = type(self).options(self._flags)
        return [(value, text) for value, (text, _test) in self._options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice; none of a value that is no choice."""
        value = self.value()
        if value is None:
            return queryset
        _text, test = self._options.get(value, ("", lambda _flag: False))
        return queryset.filter(pk__in=[flag.pk for flag in self._flags.all if test(flag)])


def _filter(name: str, title: Any, options: Callable[[Flags], _Options]) -> type[FlagFilter]:
    return type(
        "Filter", (FlagFilter,), {"parameter_name": name, "title": title, "options": options}
    )


#: In the order of the page.
FILTERS = (
    _filter("state", gettext_lazy("state"), Flags.states),
    _filter("owner", gettext_lazy("owner"), Flags.owners),
    _filter("tag", gettext_lazy("tag"), Flags.tags),
    _filter("changed", gettext_lazy("changed"), Flags.changes),
    _filter("unused", gettext_lazy("unused"), Flags.unused),
)
