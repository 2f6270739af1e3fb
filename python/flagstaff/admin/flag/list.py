"""The list of flags: read once, filtered, sorted and counted in Python; its columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote as quoted_pk
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import InvalidPage
from django.db.models import JSONField, QuerySet, TextField, Value
from django.db.models.functions import Cast, NullIf
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.safestring import SafeString

from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import Kind
from flagstaff._tables.states import STATE_LABELS, FlagState, ReleaseState, state_of
from flagstaff._text import local_list, local_number, localized, say
from flagstaff._text.times import aware, local_days, local_time_text, today
from flagstaff._workers.usage import NOT_USED, KeyUsage, key_usage
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.flag.usage import percent_true
from flagstaff.admin.links import BACK, changes_url, page_link, page_url
from flagstaff.admin.looks import (
    alarms_of,
    allowed_count,
    count_of_users,
    notes_of_apps,
    state_and_label,
    with_counts,
)
from flagstaff.admin.parts import Note
from flagstaff.admin.rights import may, once, why_denied
from flagstaff.admin.rules.sentences import rules_note
from flagstaff.admin.waiting_parts import waiting_notes
from flagstaff.admin.words import (
    cell_html,
    colour_of,
    joined,
    newest_change_cells,
    short,
    time_cell,
    two_lines,
)
from flagstaff.changes.fields import ALLOWED
from flagstaff.conf import conf
from flagstaff.history.log import newest_of_rows
from flagstaff.stale import stale_flags
from flagstaff.stale.signals import SIGNAL_LABELS, Signal
from flagstaff.validators import rule_problem, usable_tags

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# The choices of flags that are enabled, and of those that a person should look at.
_ENABLED, _ATTENTION = "on", "attention"
# The choice of flags whose owner is the user of the request. No owner begins like this.
_OWNED_BY_ME = "@me"
# A long time, in days, for flags that nobody changes or evaluates.
_LONG = 30
# The choice of flags that were not changed for a long time.
_UNCHANGED = f"not-{_LONG}d"
_DAY = timedelta(days=1)
# The order of the states, most interesting first.
_STATES = [
    ReleaseState.ROLLOUT,
    ReleaseState.BY_RULES,
    ReleaseState.ALLOWED_USERS,
    ReleaseState.ALL,
    ReleaseState.NO_USERS,
    ReleaseState.OFF,
]
# The ids of the sentences that say why buttons are disabled.
_WHY_NOT, _READ_ONLY = "flagstaff-why-not", "flagstaff-read-only"
_DJANGOS_BOX: Any = admin.ModelAdmin.action_checkbox
_CHECKBOX = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
_BAR = '<progress class="flagstaff-bar" max="100" value="{}" aria-hidden="true"></progress> '
_MAX_TAGS = 5


@dataclass(eq=False, slots=True)
class ListedFlag:
    """What the list knows of a flag."""

    pk: Any
    key: str
    enabled: bool
    rollout_percent: int
    owner: str
    changed_at: datetime
    #: As JSON; None for none.
    rules: str | None
    tags: str | None
    #: As if it had no allowed users, whom only `Flags.state` counts: a flag can have many.
    state: ReleaseState = ReleaseState.OFF
    #: The time of its newest entry in the history, or else that of the row, in seconds.
    changed: float = 0.0
    #: The id of the newest entry in the history.
    version: int | None = None
    #: What a person should look at, and what is good to know.
    notes: Sequence[Note] = ()
    needs_attention: bool = False
    #: Of the rows of a page: the usage of a day, the newest change, whether the user may toggle
    #: the flag, the label of its button, and the parameter that leads back to the same list.
    usage: KeyUsage = NOT_USED
    newest_change: str = ""
    may_toggle: bool = False
    button: str = ""
    back: str = ""


_Test = Callable[[ListedFlag], bool]
# The choices of a filter: their texts, and the flags that each has.
_Options = Mapping[str, tuple[str, _Test]]


class Flags:
    """All flags that the user may see, as one request has read them."""

    def __init__(self, request: HttpRequest, admin: Any) -> None:
        """Reads the flags, their newest entries, and what the apps say of them."""
        self.request, self.admin = request, admin
        self._rows: QuerySet[Any] = admin.get_queryset(request).order_by()
        # Most flags have neither. Django calls functions for each JSON, and none for a text.
        texts = (
            Cast(NullIf(name, Value([], JSONField())), TextField()) for name in ("rules", "tags")
        )
        columns = ("pk", "key", "enabled", "rollout_percent", "owner", "changed_at", *texts)
        self.all = [ListedFlag(*row) for row in self._rows.values_list(*columns)]
        notes = notes_of_apps(request, self.all)
        for pk, lines in waiting_notes(self.all).items():
            notes[pk] = [*notes.get(pk, ()), *lines]
        read = partial(newest_entries, [str(flag.pk) for flag in self.all])
        newest: Mapping[str, tuple[int | None, float]] = value_or_default(
            "the history of flags cannot be read", read, {}
        )
        forced = forced_off.keys | forced_on.keys
        # Without rules, there are few different ones.
        state_without_rules = cache(lambda *state: state_of(FlagState(*state), 0))
        for flag in self.all:
            pk, fields = str(flag.pk), (flag.enabled, flag.rollout_percent)
            flag.version, flag.changed = newest.get(pk) or (None, _seconds(flag.changed_at))
            flag_notes = notes.get(pk, ())
            if flag.rules or flag.key in forced:
                state = FlagState(*fields, json.loads(flag.rules or "[]"))
                flag.state = state_of(state, 0)
                flag_notes = [*flag_notes, *alarms_of(flag.key, state)]
            else:
                flag.state = state_without_rules(*fields)
            if flag_notes:
                flag.notes = flag_notes
                flag.needs_attention = any(note.is_alarm for note in flag_notes)

    def state(self, flag: ListedFlag) -> ReleaseState:
        """Returns the state. Queries for the first flag that only allowed users may have."""
        is_unsure = flag.state is ReleaseState.NO_USERS
        has_users = is_unsure and flag.pk in self._with_users
        return ReleaseState.ALLOWED_USERS if has_users else flag.state

    @cached_property
    def _with_users(self) -> set[Any]:
        has_users = {f"{ALLOWED}__isnull": False}
        unsure = self._rows.filter(enabled=True, rollout_percent__lte=0, **has_users)
        return {*unsure.values_list("pk", flat=True).distinct()}

    @cached_property
    def usage(self) -> Mapping[str, KeyUsage]:
        """The usage of all keys. Most lists need that of a page only."""
        return _usage_of(self.all)

    def last_use(self, flag: ListedFlag) -> float:
        """Returns when a flag was last used in any way, in seconds; 0 if it never was."""
        used = self.usage.get(flag.key, NOT_USED)
        times = used.last_evaluated_at, used.served_in_bulk_at, used.served_to_browsers_at
        return max((_seconds(at) for at in times if at is not None), default=0)

    @property
    def sort_keys(self) -> Mapping[str, Callable[[ListedFlag], Any]]:
        """What each column is sorted by."""
        return {
            "flag": lambda flag: flag.key,
            "state": lambda flag: (_STATES.index(self.state(flag)), flag.rollout_percent),
            "usage": self.last_use,
            "changed": lambda flag: -flag.changed,
            "owned_by": lambda flag: (flag.owner.casefold(), flag.key),
        }

    def rows_of(self, flags: Sequence[ListedFlag]) -> list[Any]:
        """Returns the rows of a page. Each has what its columns show as the attribute `listed`."""
        usage = _usage_of(flags)
        read = partial(newest_change_cells, [flag.version for flag in flags if flag.version])
        changed: Mapping[str, str] = value_or_default("entries cannot be read", read, {})
        rows = with_counts(self._rows).in_bulk([flag.pk for flag in flags])
        # The list, with its search, filters and page.
        back = urlencode({BACK: f"{self.request.get_full_path()}#"})
        # Others may just have been deleted.
        flags = [flag for flag in flags if flag.pk in rows]
        is_writable = not conf.read_only
        buttons = {True: say("Kill…").local, False: say("Turn on…").local}
        for flag in flags:
            row = rows[flag.pk]
            row.listed, flag.back, flag.usage = flag, back, usage.get(flag.key, NOT_USED)
            flag.newest_change = changed.get(str(flag.pk), "")
            # A row of the query set is not hidden.
            flag.may_toggle = is_writable and self.admin.has_toggle_permission(self.request, row)
            flag.button = buttons[row.enabled]
        return [rows[flag.pk] for flag in flags]

    # The choices of the filters.

    def states(self) -> _Options:
        """The states, all flags that are on, and those that a person should look at."""
        labels = {**STATE_LABELS, ReleaseState.ROLLOUT: say("in rollout").local}
        return {
            _ATTENTION: (say("needs attention").local, lambda flag: flag.needs_attention),
            _ENABLED: (say("on").local, lambda flag: flag.enabled),
            **{state.value: (str(labels[state]), self._has_state(state)) for state in _STATES},
        }

    def _has_state(self, state: ReleaseState) -> _Test:
        if state in {ReleaseState.ALLOWED_USERS, ReleaseState.NO_USERS}:
            return lambda flag: self.state(flag) is state
        return lambda flag: flag.state is state

    def owners(self) -> _Options:
        """The owners; nothing if no flag has one."""
        owners = sorted({flag.owner for flag in self.all} - {""}, key=str.casefold)
        if not owners:
            return {}
        me = self.request.user.get_username().casefold()
        return {
            _OWNED_BY_ME: (say("owned by me").local, lambda flag: flag.owner.casefold() == me),
            **{owner: (owner, partial(_has_owner, owner)) for owner in owners},
            "": (say("without an owner").local, lambda flag: not flag.owner),
        }

    def tags(self) -> _Options:
        """The tags."""
        tags = {tag for text in {flag.tags for flag in self.all} for tag in _tags_in(text)}
        return {tag: (tag, partial(_has_tag, tag)) for tag in sorted(tags, key=str.casefold)}

    def changes(self) -> _Options:
        """Periods with a change, and a long one without."""
        texts = {
            "1h": (say("in the last hour").local, timedelta(hours=1)),
            "24h": (say("in the last 24 hours").local, _DAY),
        }
        for days in (7, _LONG):
            text = say("in the last {days}", days=local_days(days)).local
            texts[f"{days}d"] = text, days * _DAY
        long_ago = _ago(_LONG * _DAY)
        return {
            **{
                name: (text, partial(_is_changed_since, _ago(period)))
                for name, (text, period) in texts.items()
            },
            _UNCHANGED: (_not_in(_LONG), lambda flag: flag.changed < long_ago),
        }

    def unused(self) -> _Options:
        """Periods without an evaluation, and the flags that are probably no longer needed."""
        options: dict[str, tuple[str, _Test]] = {}
        if _is_counted():
            for days in (7, _LONG):
                options[f"{days}d"] = _not_in(days), partial(self._is_unused, _ago(days * _DAY))
            options["never"] = say("never").local, lambda flag: not self.last_use(flag)
        return {**options, "stale": (say("stale").local, lambda flag: str(flag.pk) in self._stale)}

    def _is_unused(self, since: float, flag: ListedFlag) -> bool:
        return self._created[flag.pk] < since and self.last_use(flag) < since

    @cached_property
    def _created(self) -> Mapping[Any, float]:
        return {pk: _seconds(at) for pk, at in self._rows.values_list("pk", "created_at")}

    @cached_property
    def _stale(self) -> set[str]:
        return {flag.facts.pk for flag in stale_flags()}


def _has_owner(owner: str, flag: ListedFlag) -> bool:
    return bool(flag.owner == owner)


def _has_tag(tag: str, flag: ListedFlag) -> bool:
    return tag in _tags_in(flag.tags)


def _tags_in(text: str | None) -> Collection[str]:
    return usable_tags(json.loads(text)) if text else ()


def _is_changed_since(since: float, flag: ListedFlag) -> bool:
    return flag.changed >= since


def _not_in(days: int) -> str:
    return say("not in the last {days}", days=local_days(days)).local


def _ago(period: timedelta) -> float:
    return _seconds(timezone.now() - period)


def _seconds(at: datetime) -> float:
    return aware(at).timestamp()


def newest_entries(pks: Sequence[str]) -> dict[str, tuple[int | None, float]]:
    """Returns the id and the time of the newest entry of each flag that has one. One query."""
    if not db.is_postgresql:
        return {}
    return {pk: (version, at) for pk, version, at in newest_of_rows(Kind.FLAG, pks)}


def _is_counted() -> bool:
    """Whether evaluations can be counted. Does not query."""
    return conf.usage_interval != 0 and db.is_postgresql


def _usage_of(flags: Sequence[ListedFlag]) -> Mapping[str, KeyUsage]:
    """Returns the usage of a day by key. One query."""
    if not (flags and _is_counted()):
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


# In the order of the page.
_FILTERS = (
    _filter("state", say("state").lazy, Flags.states),
    _filter("owner", say("owner").lazy, Flags.owners),
    _filter("tag", say("tag").lazy, Flags.tags),
    _filter("changed", say("changed").lazy, Flags.changes),
    _filter("unused", say("unused").lazy, Flags.unused),
)


# The page.


class FlagChangeList(ChangeList):
    """Sorts the flags in Python, and reads the rows of its page only."""

    model_admin: FlagListAdmin

    def get_results(self, request: HttpRequest) -> None:
        """Reads the page: first what needs attention, then the last changed."""
        flags = flags_of(request, self.model_admin)
        listed, sort_keys, orders = [*flags.all], flags.sort_keys, list[tuple[str, bool]]()
        if ORDER_VAR in self.params:
            names = dict(enumerate(self.list_display))
            columns = self.get_ordering_field_columns().items()
            orders = [
                (str(names.get(int(number))), direction == "desc") for number, direction in columns
            ]
        # Django sorts by other columns, such as those of a project.
        is_sorted_here = all(name in sort_keys for name, _is_desc in orders)
        if self.query or self.params.keys() - {ORDER_VAR} or not is_sorted_here:
            by_pk = {flag.pk: flag for flag in flags.all}
            listed = [by_pk[pk] for pk in self.queryset.values_list("pk", flat=True) if pk in by_pk]
        if ORDER_VAR not in self.params:
            listed.sort(key=lambda flag: (flag.needs_attention, flag.changed), reverse=True)
        for name, is_desc in reversed(orders):
            if key := sort_keys.get(name):
                listed.sort(key=key, reverse=is_desc)
        self.paginator = self.model_admin.paginator(listed, self.list_per_page)
        self.result_count, self.full_result_count = len(listed), len(flags.all)
        self.show_full_result_count = True
        self.show_admin_actions = bool(flags.all)
        self.can_show_all = len(listed) <= self.list_max_show_all
        self.multi_page = len(listed) > self.list_per_page
        if self.multi_page and not (self.show_all and self.can_show_all):
            try:
                listed = self.paginator.page(self.page_num).object_list
            except InvalidPage as error:
                raise IncorrectLookupParameters from error
        self.result_list = flags.rows_of(listed)

    @cached_property
    def _own_url(self) -> str:
        return page_url(self.model_admin.admin_site, self.model, "changelist")

    def url_for_result(self, result: Any) -> str:
        """Returns the URL of the page of a flag, below that of the list."""
        # To look up a URL for each row takes long.
        return f"{self._own_url}{quote(str(quoted_pk(result.pk)))}/change/"


class FlagListAdmin(BaseAdmin):
    """Shows the list. The columns get the rows of `Flags.rows_of`."""

    list_display: _ListDisplayT[Any] = ("flag", "state", "usage", "changed", "owned_by", "on_off")
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (*_FILTERS, "kind")
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", "owner", "tags")
    # The bar is shown while flags are selected.
    actions_on_top, actions_on_bottom = False, True
    # The choices are counted by the shortcuts.
    show_facets = admin.ShowFacets.NEVER
    search_help_text = say("Key, description, owner, tag").lazy
    ordering = ("-changed_at",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list."""
        return FlagChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns that have something to show."""
        columns: Sequence[Any] = super().get_list_display(request)
        return [column for column in columns if column != "usage" or _is_counted()]

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> dict[str, Any]:
        """The shortcuts above the list, and why buttons are disabled."""
        flags, model = flags_of(request, self), self.model
        needed = say("To turn flags on or off, you need the permission “{permission}”.")
        may_toggle = may(self.admin_site, request, "toggle", model)
        # The head of the page says that it is read-only.
        says_why = not (may_toggle or conf.read_only)
        why_not = why_denied(request, "toggle", model, needed=needed) if says_why else ""
        deleted = {"q": changelist.query, "kind": Kind.FLAG.value}
        return {
            **super().list_context(request, changelist),
            "flagstaff_shortcuts": [*_shortcuts(request, flags)],
            "flagstaff_total": len(flags.all),
            "flagstaff_first": next(map(_anchor, changelist.result_list), ""),
            "flagstaff_order": "" if ORDER_VAR in request.GET else _order_text(flags.all),
            "flagstaff_deleted_url": changes_url(self.admin_site, deleted)
            if changelist.query and page_link(self.admin_site, request, "changes")
            else "",
            "flagstaff_why_not": why_not,
            # Unfold shows the bar below the list, and only this one.
            "actions_on_top": self.actions_on_top or self._has_theme,
        }

    @property
    def _has_theme(self) -> bool:
        """Whether the boxes that select rows are those of a theme's ModelAdmin."""
        box = super().action_checkbox
        return getattr(box, "__func__", box) is not _DJANGOS_BOX

    # The columns.

    def action_checkbox(self, obj: Any) -> SafeString:
        """The box that selects a row. Django renders three templates for each."""
        if self._has_theme:
            return super().action_checkbox(obj)
        label = say("Select this object for an action - {row}", row=str(obj)).html
        return cell_html(_CHECKBOX, ACTION_CHECKBOX_NAME, obj.pk, label)

    @admin.display(description=say("flag").lazy, ordering="key")
    def flag(self, flag: Any) -> SafeString:
        """The key; below, what needs attention or else all that is quiet."""
        listed: ListedFlag = flag.listed
        texts = [note.text for note in listed.notes if note.is_alarm]
        description = "" if texts else flag.description
        if not texts:
            texts = [note.text for note in listed.notes]
            if flag.review_on and flag.review_on < today():
                texts.append(say("stale: {signals}", signals=SIGNAL_LABELS[Signal.REVIEW]).local)
        looks = ["flagstaff-reason"] if texts else []
        looks += ["flagstaff-alert"] if listed.needs_attention else []
        # The column is often too narrow for the texts.
        title = " · ".join(filter(None, [*map(strip_tags, map(localized, texts)), description]))
        return cell_html(
            '<span class="flagstaff-key" id="{0}" title="{1}">{1}</span>'
            '<small class="{2}" title="{3}">{4}</small>',
            _anchor(flag),
            flag.key,
            " ".join(looks),
            title,
            joined(" · ", [*texts, short(description)]),
        )

    @admin.display(description=say("state").lazy, ordering="rollout_percent")
    def state(self, flag: Any) -> SafeString:
        """The state; below, the rollout, and what else decides about users."""
        allowed, (state, label) = allowed_count(flag), state_and_label(flag)
        rules, percent = rules_note(flag.rules, rule_problem), flag.rollout_percent
        bar = rollout = ""
        if state in {ReleaseState.BY_RULES, ReleaseState.OFF}:
            # It is not the percentage of those who have the flag, as a bar would say.
            text = say("others {percent} %") if rules else say("{percent} % when on")
            rollout = say(text, percent=percent).local
        else:
            bar = cell_html(_BAR, percent)
        texts = (
            rules,
            rollout,
            # Beside those of the rollout.
            f"+ {count_of_users(allowed)}" if allowed else "",
        )
        return cell_html(
            '<span class="flagstaff-state flagstaff-{}">{}</span><small>{}{}</small>',
            colour_of(state.value),
            label,
            bar,
            " · ".join(filter(None, texts)),
        )

    @admin.display(description=say("usage report").lazy, ordering="key")
    def usage(self, flag: Any) -> SafeString | str:
        """The share of true results in 24 hours, and when a worker last reported an evaluation."""
        used: KeyUsage = flag.listed.usage
        last, to_browsers = used.last_evaluated_at, used.served_to_browsers_at
        if to_browsers is not None and (last is None or last < to_browsers):
            return two_lines(say("in browsers").local, time_cell(to_browsers))
        if last is not None:
            share = _share(used)
            title = say("in the last 24 hours").local
            shown = cell_html('<span title="{}">{}</span>', title, share)
            return two_lines(shown, time_cell(last)) if share else time_cell(last)
        if used.served_in_bulk_at is not None:
            title = say(
                "Served in bulk, last recorded at {time}. An evaluation of one key would be "
                "counted.",
                time=local_time_text(used.served_in_bulk_at),
            ).local
            return cell_html('<span title="{}">{}</span>', title, say("not known").local)
        return say("never").local

    @admin.display(description=say("last change").lazy, ordering="-changed_at")
    def changed(self, flag: Any) -> str:
        """The newest change, its actor and its time; without a history, the time only."""
        return flag.listed.newest_change or time_cell(flag.changed_at)

    @admin.display(description=say("owner").lazy, ordering="owner", empty_value="")
    def owned_by(self, flag: Any) -> SafeString:
        """The owner; below, the tags."""
        return two_lines(flag.owner, local_list(usable_tags(flag.tags), _MAX_TAGS))

    @admin.display(description="")
    def on_off(self, flag: Any) -> SafeString:
        """A link to the page that turns the flag on, or kills it. Disabled without permission."""
        # The accessible name begins with the visible one.
        page, label = "kill" if flag.enabled else "on", flag.listed.button
        name = f"{label} {flag.key}"
        if not flag.listed.may_toggle:
            return cell_html(
                '<button type="button" class="button flagstaff-button" disabled aria-label="{}" '
                'aria-describedby="{}">{}</button>',
                name,
                _READ_ONLY if conf.read_only else _WHY_NOT,
                label,
            )
        # Afterwards the browser returns to this row of the same list.
        return cell_html(
            '<a class="button flagstaff-button" href="{}/{}/?{}{}" aria-label="{}">{}</a>',
            quoted_pk(flag.pk),
            page,
            flag.listed.back,
            quote(_anchor(flag)),
            name,
            label,
        )


def _shortcuts(request: HttpRequest, flags: Flags) -> Iterator[Mapping[str, object]]:
    """Yields links to filters, with the numbers of their flags; none without a flag."""
    current = dict(request.GET.items())
    options = {"state": flags.states(), "changed": flags.changes(), "owner": flags.owners()}
    shortcuts: Sequence[tuple[str, Mapping[str, str]]] = (
        (say("in need of attention").local, {"state": _ATTENTION}),
        (say("in rollout").local, {"state": ReleaseState.ROLLOUT.value}),
        (say("changed in 24 hours").local, {"changed": "24h"}),
        (say("owned by me").local, {"owner": _OWNED_BY_ME}),
        (
            say("on for all, unchanged for {days}", days=local_days(_LONG)).local,
            {"state": ReleaseState.ALL.value, "changed": _UNCHANGED},
        ),
    )
    for label, chosen in shortcuts:
        matching = flags.all
        for name, value in chosen.items():
            # Without an owner, nothing is owned by anybody.
            _text, test = options[name].get(value, ("", lambda _flag: False))
            matching = [*filter(test, matching)]
        if matching:
            yield {
                "label": label,
                "count": local_number(len(matching)),
                "query": f"?{urlencode(chosen)}",
                "is_current": current == chosen,
            }


def _order_text(flags: Collection[ListedFlag]) -> str:
    text = say("{count} flag in all", "{count} flags, the last changed first")
    if any(flag.needs_attention for flag in flags):
        text = say(
            "{count} flag: what needs attention first, then the last changed",
            "{count} flags: those that need attention first, then the last changed",
        )
    return say(text, count=len(flags)).local


def _anchor(flag: Any) -> str:
    """The id of the flag's row in the list. A primary key may be any text."""
    return f"flag-{quote(str(flag.pk), safe='')}"


def _share(usage: KeyUsage) -> str:
    """The share of true results; empty without an evaluation."""
    count = usage.true_count + usage.false_count
    percent = percent_true(usage.true_count, count) if count else 0
    return say("{percent} % true", percent=percent).local if count else ""
