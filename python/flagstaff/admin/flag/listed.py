"""What the list of flags knows of all flags: read once, filtered and counted in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones
from functools import cached_property, partial
from typing import Any, ClassVar

from django.contrib import admin
from django.db import connections
from django.db.models import JSONField, QuerySet, Value
from django.db.models.functions import NullIf
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine import forced_off
from flagstaff._engine.usage import NOT_USED, KeyUsage, key_usage
from flagstaff._tables.flag_states import FlagState, ReleaseState, state_of
from flagstaff._tables.names import own_names, query
from flagstaff._tables.tags import usable_tags
from flagstaff._words.times import aware, local_days
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.parts.app_panels import AppTexts, texts_by_flag
from flagstaff.admin.flag.state import (
    forced_off_notice,
    only_allowed_users,
    partial_rule_notices,
)
from flagstaff.admin.page import page_of
from flagstaff.conf import conf
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import names_of_actors
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
_NEVER = datetime.min.replace(tzinfo=zones.utc)
# The order of the states, most interesting first.
_STATES = [
    *(ReleaseState.ROLLOUT, ReleaseState.BY_RULES, ReleaseState.ALLOWED_USERS),
    *(ReleaseState.ALL, ReleaseState.NO_USERS, ReleaseState.OFF),
]
_COLUMNS = ("pk", "key", "enabled", "rollout_percent", "bucket_by", "owner")

# An event, with the names of actors.
_Newest = tuple[Event, Mapping[str, str]]


@dataclass(eq=False)
class ListedFlag:
    """What the filters, the shortcuts and the order know of a flag, and what its row shows."""

    pk: Any
    key: str
    enabled: bool
    rollout_percent: int
    bucket_by: str
    owner: str
    rules: Any
    tags: Any
    #: Whether there are allowed users, of a flag that nobody else has.
    has_users: bool
    state: ReleaseState = ReleaseState.OFF
    #: The time of its newest entry in the history, or else that of the row, in seconds.
    changed: float = 0.0
    #: What a person should look at, and what is good to know.
    alerts: Sequence[SafeString | str] = ()
    notes: Sequence[SafeString | str] = ()
    #: The id of the newest entry in the history.
    version: int | None = None
    # What only a row that is shown has.
    event: _Newest | None = None
    usage: KeyUsage = NOT_USED
    may_toggle: bool = False
    #: The path of the list, with its search, filters and page.
    path: str = ""

    def __post_init__(self) -> None:
        if self.rules is None:
            self.rules = []


_NO_TEXTS = AppTexts()
_Test = Callable[[ListedFlag], bool]
_Options = Mapping[str, tuple[str, _Test]]


class Flags:
    """All flags that the user may see, as one request has read them."""

    def __init__(self, request: HttpRequest, admin: Any) -> None:
        """Reads the flags, their newest entries, and what the apps say of them."""
        self.request, self.admin = request, admin
        self._rows: QuerySet[Any] = admin.get_queryset(request).order_by()
        # Most flags have neither, and JSON is slow to read.
        rules, tags = (NullIf(name, Value([], JSONField())) for name in ("rules", "tags"))
        has_users = only_allowed_users(admin.model)
        self.all = [
            ListedFlag(*row) for row in self._rows.values_list(*_COLUMNS, rules, tags, has_users)
        ]
        page_of(request).show(self.all)
        texts = texts_by_flag(admin, self.all)
        newest = self._newest()
        for flag in self.all:
            pk, state = str(flag.pk), FlagState.of(flag)
            said = texts.get(pk, _NO_TEXTS)
            flag.state = state_of(state, flag.has_users)
            flag.version, flag.changed = newest[pk]
            flag.notes = said.notes
            # Most flags have none of these.
            if said.attention or state.partial_rules or flag.key in forced_off.keys:
                own = (*partial_rule_notices(state), forced_off_notice(flag))
                flag.alerts = [*said.attention, *filter(None, own)]

    def _newest(self) -> dict[str, tuple[int | None, float]]:
        """The newest entries and their times; of flags without an entry, that of the row."""
        pks = [str(flag.pk) for flag in self.all]
        read = partial(newest_entries, pks)
        found: dict[str, tuple[int | None, float]] = value_or_default(
            "the history of flags cannot be read", read, {}
        )
        if len(found) < len(pks):
            rows = self._rows.values_list("pk", "changed_at")
            found = {str(pk): (None, aware(at).timestamp()) for pk, at in rows} | found
        return found

    @cached_property
    def usage(self) -> Mapping[str, KeyUsage]:
        """The usage of all keys. Most lists need that of a page only."""
        return _usage_of(self.all)

    def last_use(self, flag: ListedFlag) -> datetime | None:
        """Returns when a flag was last used in any way; None if it never was."""
        found = self.usage.get(flag.key, NOT_USED)
        times = found.last_evaluated_at, found.served_in_bulk_at, found.served_to_browsers_at
        return max((at for at in times if at is not None), default=None)

    @property
    def sort_keys(self) -> Mapping[str, Callable[[ListedFlag], Any]]:
        """What each column is sorted by."""
        return {
            "flag": lambda flag: flag.key,
            "state": lambda flag: (_STATES.index(flag.state), flag.rollout_percent),
            "usage": lambda flag: self.last_use(flag) or _NEVER,
            "changed": lambda flag: -flag.changed,
            "owned_by": lambda flag: (flag.owner.casefold(), flag.key),
        }

    def rows_of(self, flags: Sequence[ListedFlag]) -> list[Any]:
        """Returns the rows of a page, with all that its columns show."""
        usage, admin = _usage_of(flags), self.admin
        read = partial(_events_of, [flag.version for flag in flags if flag.version])
        found: Mapping[int, _Newest] = value_or_default("entries cannot be read", read, {})
        rows = admin.get_queryset(self.request).in_bulk([flag.pk for flag in flags])
        for flag in flags:
            if (row := rows.get(flag.pk)) is None:
                continue
            row.listed, flag.path = flag, self.request.get_full_path()
            flag.usage = usage.get(flag.key, NOT_USED)
            flag.event = found.get(flag.version or 0)
            # A row of the query set is not hidden.
            flag.may_toggle = not conf.read_only and admin.has_toggle_permission(self.request, row)
        return [rows[flag.pk] for flag in flags if flag.pk in rows]

    def states(self) -> _Options:
        """The states, all flags that are on, and those that a person should look at."""
        labels = {
            ReleaseState.ROLLOUT: _("in rollout"),
            ReleaseState.BY_RULES: _("by rules"),
            ReleaseState.ALLOWED_USERS: _("allowed users only"),
            ReleaseState.ALL: _("on for all"),
            ReleaseState.NO_USERS: _("on for no users"),
            ReleaseState.OFF: pgettext("state of a flag", "off"),
        }
        return {
            ATTENTION: (_("needs attention"), lambda flag: bool(flag.alerts)),
            ENABLED: (pgettext("state of a flag", "on"), lambda flag: flag.enabled),
            **{one.value: (text, partial(_is_in, one)) for one, text in labels.items()},
        }

    def owners(self) -> _Options:
        """The owners; nothing if no flag has one."""
        owners = sorted({flag.owner for flag in self.all} - {""}, key=str.casefold)
        if not owners:
            return {}
        me = self.request.user.get_username().casefold()
        return {
            OWNED_BY_ME: (_("owned by me"), lambda flag: flag.owner.casefold() == me),
            **{owner: (owner, partial(_has_owner, owner)) for owner in owners},
            "": (_("without an owner"), partial(_has_owner, "")),
        }

    def tags(self) -> _Options:
        """The tags."""
        tags = {tag for flag in self.all if flag.tags for tag in usable_tags(flag.tags)}
        return {tag: (tag, partial(_has_tag, tag)) for tag in sorted(tags, key=str.casefold)}

    def changes(self) -> _Options:
        """Periods with a change, and a long one without."""
        now, text = aware(timezone.now()), _("in the last %(days)s")
        hours = {f"{count}h": (_hours_text(count), count * _HOUR) for count in (1, 24)}
        days = {
            f"{count}d": (text % {"days": local_days(count)}, count * _DAY) for count in (7, LONG)
        }
        unchanged = _("not in the last %(days)s") % {"days": local_days(LONG)}
        periods: _Options = {
            name: (label, partial(_was_changed, now - period))
            for name, (label, period) in (hours | days).items()
        }
        return {
            **periods,
            UNCHANGED: (unchanged, lambda flag: not _was_changed(now - LONG * _DAY, flag)),
        }

    def unused(self) -> _Options:
        """Periods without an evaluation, and the flags that are probably no longer needed."""
        now, text = aware(timezone.now()), _("not in the last %(days)s")
        found: dict[str, tuple[str, _Test]] = {}
        if is_counted():
            for days in (7, LONG):
                test = partial(self._is_unused, since=now - days * _DAY)
                found[f"{days}d"] = text % {"days": local_days(days)}, test
            found["never"] = _("never"), lambda flag: self.last_use(flag) is None
        return {**found, "stale": (_("stale"), lambda flag: str(flag.pk) in self._stale)}

    def _is_unused(self, flag: ListedFlag, since: datetime) -> bool:
        last = self.last_use(flag)
        return self._created[flag.pk] < since and (last is None or last < since)

    @cached_property
    def _created(self) -> Mapping[Any, datetime]:
        return {pk: aware(at) for pk, at in self._rows.values_list("pk", "created_at")}

    @cached_property
    def _stale(self) -> set[str]:
        return {flag.facts.pk for flag in stale_flags()}


def _is_in(state: ReleaseState, flag: ListedFlag) -> bool:
    return flag.state is state


def _has_owner(owner: str, flag: ListedFlag) -> bool:
    return flag.owner == owner


def _has_tag(tag: str, flag: ListedFlag) -> bool:
    return tag in usable_tags(flag.tags)


def _was_changed(since: datetime, flag: ListedFlag) -> bool:
    return flag.changed >= since.timestamp()


def _hours_text(count: int) -> str:
    text = ngettext("in the last %(count)s hour", "in the last %(count)s hours", count)
    return text % {"count": count}


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
    if not (flags and is_counted()):
        return {}
    read = partial(key_usage, [flag.key for flag in flags], timezone.now() - _DAY)
    return value_or_default("the usage of flags cannot be read", read, {})


def _events_of(versions: Sequence[int]) -> Mapping[int, _Newest]:
    """Returns the events of entries, each with the names of actors. Two queries."""
    if not versions:
        return {}
    found = [next(events([entry])) for entry in Change.objects.filter(pk__in=versions).short()]
    names = names_of_actors(found)
    return {event.version: (event, names) for event in found}


def flags_of(request: HttpRequest, model_admin: Any) -> Flags:
    """Returns the flags of the list. Reads them once for a request."""
    return page_of(request).once(Flags, partial(Flags, request, model_admin))


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
