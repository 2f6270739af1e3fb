"""The list of flags: all flags are read once, and are filtered, counted and sorted in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import InvalidPage
from django.db import connections
from django.db.models import JSONField, QuerySet, Value
from django.db.models.functions import NullIf
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, gettext_lazy, ngettext, pgettext
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine import forced_off
from flagstaff._engine.usage import NOT_USED, KeyUsage, key_usage
from flagstaff._tables.bucket_units import USER, VISITOR, short_unit
from flagstaff._tables.flag_states import FlagState, ReleaseState, state_of
from flagstaff._tables.names import own_names, query
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import local_list, local_number
from flagstaff._words.times import aware, local_days, local_time_text, today
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.cells import MAX_DESCRIPTION, time_cell
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.parts.app_panels import AppTexts, texts_by_flag
from flagstaff.admin.flag.sections import percent_true
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
    only_allowed_users,
    partial_rule_notices,
    with_allowed_count,
)
from flagstaff.admin.links import BACK, changes_url, page_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.page import page_of
from flagstaff.admin.rights import may, why_not_toggle
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_difference, field_label
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import names_of_actors
from flagstaff.stale import stale_flags
from flagstaff.stale.signals import Signal
from flagstaff.stale.texts import SIGNAL_LABELS
from flagstaff.validators import rule_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

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
# The id of the sentence that says why buttons are disabled.
_WHY_NOT = "flagstaff-why-not"
_CHECKBOX = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
_MAX_PARTS, _MAX_TAGS, _MAX_ACTOR = 3, 5, 40
_ALERT = SafeString(' class="flagstaff-alert"')


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


class FlagChangeList(ChangeList):
    """Sorts the flags in Python, and reads the rows of its page only."""

    model_admin: FlagListAdmin

    def get_results(self, request: HttpRequest) -> None:
        """Reads the page: first what needs attention, then the last changed."""
        flags = flags_of(request, self.model_admin)
        by_pk = {flag.pk: flag for flag in flags.all}
        found = [by_pk[pk] for pk in self.queryset.values_list("pk", flat=True) if pk in by_pk]
        if ORDER_VAR not in self.params:
            found.sort(key=lambda flag: (bool(flag.alerts), flag.changed), reverse=True)
        else:
            # The last one first. Django has sorted by other columns, such as those of a project.
            names = dict(enumerate(self.list_display))
            for number, direction in reversed(self.get_ordering_field_columns().items()):
                if key := flags.sort_keys.get(str(names.get(int(number)))):
                    found.sort(key=key, reverse=direction == "desc")
        self.paginator = self.model_admin.paginator(found, self.list_per_page)
        self.result_count, self.full_result_count = len(found), len(flags.all)
        self.show_full_result_count = True
        self.show_admin_actions = bool(flags.all)
        self.can_show_all = len(found) <= self.list_max_show_all
        self.multi_page = len(found) > self.list_per_page
        if self.multi_page and not (self.show_all and self.can_show_all):
            try:
                found = self.paginator.page(self.page_num).object_list
            except InvalidPage as error:
                raise IncorrectLookupParameters from error
        self.result_list = flags.rows_of(found)


class FlagListAdmin(BaseAdmin):
    """Shows the list. The rows that its columns get have a `listed`."""

    list_display: _ListDisplayT[Any] = ("flag", "state", "usage", "changed", "owned_by", "on_off")
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (*FILTERS, "kind")
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", "owner", "tags")
    # The bar is shown while flags are selected.
    actions_on_top, actions_on_bottom = False, True
    # The choices are counted by the shortcuts.
    show_facets = admin.ShowFacets.NEVER
    search_help_text = gettext_lazy("Key, description, owner, tag")
    ordering = ("-changed_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The flags, with the number of allowed users where the query reads it."""
        return with_allowed_count(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list."""
        return FlagChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns that have something to show."""
        columns: Sequence[Any] = super().get_list_display(request)
        return [one for one in columns if one != "usage" or is_counted()]

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> dict[str, Any]:
        """The shortcuts above the list, and why buttons are disabled."""
        flags, model = flags_of(request, self), self.model
        may_toggle = may(self.admin_site, request, "toggle", model)
        deleted = {"key": changelist.query, "kind": Kind.FLAG.value, "action": "delete"}
        return {
            "flagstaff_shortcuts": [*_shortcuts(request, flags)],
            "flagstaff_total": len(flags.all),
            "flagstaff_order": "" if ORDER_VAR in request.GET else _order_text(len(flags.all)),
            "flagstaff_deleted_url": changes_url(self.admin_site, deleted)
            if changelist.query and page_link(self.admin_site, request, "changes")
            else "",
            "flagstaff_why_not": "" if may_toggle else why_not_toggle(model),
        }

    # The columns.

    def action_checkbox(self, obj: Any) -> SafeString:
        """The box that selects a row. Django renders three templates for each."""
        label = format_html(gettext("Select this object for an action - {}"), str(obj))
        return format_html(_CHECKBOX, ACTION_CHECKBOX_NAME, obj.pk, label)

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: Any) -> SafeString:
        """The key; below, what needs attention or else all that is quiet."""
        listed: ListedFlag = flag.listed
        is_due = flag.review_on is not None and flag.review_on < today()
        review = _("stale: %(signals)s") % {"signals": SIGNAL_LABELS[Signal.REVIEW]}
        texts = (
            *listed.notes,
            review if is_due else "",
            Truncator(flag.description).chars(MAX_DESCRIPTION),
        )
        quiet = format_html_join(" · ", "{}", ((one,) for one in texts if one))
        alerts = format_html_join(" · ", "{}", ((one,) for one in listed.alerts))
        return format_html(
            '<span class="flagstaff-key" id="{}" title="{}">{}</span><small{}>{}</small>',
            _anchor(flag),
            flag.key,
            flag.key,
            _ALERT if alerts else format_html(' title="{}"', flag.description),
            alerts or quiet,
        )

    @admin.display(description=gettext_lazy("state"), ordering="rollout_percent")
    def state(self, flag: Any) -> SafeString:
        """The state; below, the rollout as a bar, and what else decides about users."""
        css_class, label = class_and_label(flag)
        allowed: int = getattr(flag, ALLOWED_COUNT)
        users = ngettext("%(count)s user", "%(count)s users", allowed)
        # The label of other states has it.
        has_percent = flag.listed.state in {ReleaseState.BY_RULES, ReleaseState.OFF}
        texts = (
            f"{flag.rollout_percent} %" if has_percent else "",
            _unit_text(flag.bucket_by),
            _rules_text(flag.rules),
            users % {"count": local_number(allowed)} if allowed else "",
        )
        return format_html(
            '<span class="flagstaff-state flagstaff-{}">{}</span><small><progress class="'
            'flagstaff-bar{}" max="100" value="{}" aria-hidden="true"></progress> {}</small>',
            *(css_class, label, "" if flag.enabled else " flagstaff-bar-off"),
            *(flag.rollout_percent, " · ".join(filter(None, texts))),
        )

    @admin.display(description=gettext_lazy("24 hours"), ordering="key")
    def usage(self, flag: Any) -> SafeString | str:
        """The share of true results in 24 hours, and the time of the last evaluation."""
        found: KeyUsage = flag.listed.usage
        last, to_browsers = found.last_evaluated_at, found.served_to_browsers_at
        if to_browsers is not None and (last is None or last < to_browsers):
            return lines(_("in browsers"), time_cell(to_browsers))
        if last is not None:
            share = _share(found)
            return lines(share, time_cell(last)) if share else time_cell(last)
        if found.served_in_bulk_at is not None:
            text = _("Served in bulk on %(time)s. An evaluation of one key would be counted.")
            title = text % {"time": local_time_text(found.served_in_bulk_at)}
            return format_html('<span title="{}">{}</span>', title, _("not known"))
        return _("never")

    # The first click shows the newest changes.
    @admin.display(description=gettext_lazy("last change"), ordering="-changed_at")
    def changed(self, flag: Any) -> SafeString | str:
        """The newest change, its actor and its time; without a history, the time only."""
        listed: ListedFlag = flag.listed
        if listed.event is None:
            return time_cell(flag.changed_at)
        event, names = listed.event
        actor = Truncator(describe_actor(event, names)).chars(_MAX_ACTOR)
        text = _change_text(event)
        shown = format_html('<span title="{}">{}</span>', text, text)
        return lines(shown, format_html("{} · {}", actor, time_cell(event.at)))

    @admin.display(description=gettext_lazy("owner"), ordering="owner")
    def owned_by(self, flag: Any) -> SafeString:
        """The owner; below, the tags."""
        return lines(flag.owner, local_list(usable_tags(flag.tags), _MAX_TAGS))

    @admin.display(description="")
    def on_off(self, flag: Any) -> SafeString:
        """A link to the page that turns the flag on, or kills it. Disabled without permission."""
        # The accessible name begins with the visible one.
        page, label, name = (
            ("kill", _("Kill…"), _("Kill… %(key)s"))
            if flag.enabled
            else ("on", _("Turn on…"), _("Turn on… %(key)s"))
        )
        name %= {"key": flag.key}
        if not flag.listed.may_toggle:
            return format_html(
                '<button type="button" class="button flagstaff-button" disabled aria-label="{}" '
                'aria-describedby="{}">{}</button>',
                *(name, _WHY_NOT, label),
            )
        # Afterwards the browser returns to this row of the same list.
        back = urlencode({BACK: f"{flag.listed.path}#{_anchor(flag)}"})
        url = page_url(self.admin_site, self.model, page, flag.pk)
        return format_html(
            '<a class="button flagstaff-button" href="{}?{}" aria-label="{}">{}</a>',
            *(url, back, name, label),
        )


def _shortcuts(request: HttpRequest, flags: Flags) -> Iterator[Mapping[str, object]]:
    """Yields links to filters, with the numbers of their flags; none without a flag."""
    given = dict(request.GET.items())
    options = {one.parameter_name: one.options(flags) for one in FILTERS}
    shortcuts: Sequence[tuple[str, Mapping[str, str]]] = (
        (_("need attention"), {"state": ATTENTION}),
        (_("in rollout"), {"state": ReleaseState.ROLLOUT.value}),
        (_("changed in 24 hours"), {"changed": "24h"}),
        (_("owned by me"), {"owner": OWNED_BY_ME}),
        (
            _("on for all, unchanged for %(days)s") % {"days": local_days(LONG)},
            {"state": ReleaseState.ALL.value, "changed": UNCHANGED},
        ),
    )
    for label, chosen in shortcuts:
        choices = [options[name].get(value) for name, value in chosen.items()]
        tests = [test for _text, test in filter(None, choices)]
        count = sum(all(test(flag) for test in tests) for flag in flags.all) if tests else 0
        if count:
            yield {
                "label": label,
                "count": local_number(count),
                "query": f"?{urlencode(chosen)}",
                "is_current": given == chosen,
            }


def _order_text(count: int) -> str:
    text = ngettext(
        "%(count)s flag: attention first, then the last changed",
        "%(count)s flags: attention first, then the last changed",
        count,
    )
    return text % {"count": local_number(count)}


def _anchor(flag: Any) -> str:
    """The id of the flag's row in the list. A primary key may be any text."""
    return f"flag-{quote(str(flag.pk), safe='')}"


def lines(first: str, second: str) -> SafeString:
    """Returns a line, and below it a quiet one."""
    return format_html("{}<small>{}</small>", first, second)


def _unit_text(unit: str) -> str:
    """What the percentage counts; "" if it counts users."""
    if unit == USER:
        return ""
    return _("of visitors") if unit == VISITOR else _("by %(unit)s") % {"unit": short_unit(unit)}


def _rules_text(rules: object) -> str:
    """How many rules there are; "" without rules."""
    if rules == []:
        return ""
    if not isinstance(rules, list) or rule_problem(rules) is not None:
        return _("unreadable rules")
    text = ngettext("%(count)s rule", "%(count)s rules", len(rules))
    return text % {"count": local_number(len(rules))}


def _change_text(event: Event) -> str:
    """The most important differences of an event, without the name of a user."""
    return _("created") if event.action == "create" else local_list(_parts(event), _MAX_PARTS)


def _parts(event: Event) -> Iterator[str]:
    by_name = {one.field: one for one in event.differences}
    for name in ("enabled", "rollout_percent"):
        if name in by_name:
            yield str(describe_difference(by_name.pop(name)))
    if count := event.added.count:
        text = ngettext("added %(count)s allowed user", "added %(count)s allowed users", count)
        yield text % {"count": local_number(count)}
    if count := event.removed.count:
        text = ngettext("removed %(count)s allowed user", "removed %(count)s allowed users", count)
        yield text % {"count": local_number(count)}
    yield from map(field_label, by_name)


def _share(usage: KeyUsage) -> SafeString:
    """The share of true results, with the number as a tooltip; empty without an evaluation."""
    count = usage.true_count + usage.false_count
    if not count:
        return SafeString()
    text = ngettext(
        "%(count)s evaluation in %(hours)s hours",
        "%(count)s evaluations in %(hours)s hours",
        count,
    )
    title = text % {"count": local_number(count), "hours": 24}
    shown = _("%(percent)s %% true") % {"percent": percent_true(usage.true_count, count)}
    return format_html('<span title="{}">{}</span>', title, shown)
