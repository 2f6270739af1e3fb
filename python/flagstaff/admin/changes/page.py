"""The page of changes of flags, values and segments, and of the events of apps, and its CSV."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils import timezone
from django.utils.formats import date_format

from flagstaff._core import is_storable
from flagstaff._tables.database import value_or_default
from flagstaff._tables.rows import Kind, all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import say
from flagstaff._text.times import aware, local_time, local_time_text
from flagstaff.admin.base_admin import Page
from flagstaff.admin.changes.events import (
    EventRow,
    as_one_act,
    event_rows,
    rows_of_app,
    with_subject,
)
from flagstaff.admin.changes.undo import undo_page
from flagstaff.admin.links import (
    ALL,
    BACK,
    RESTORE,
    TRANSACTION,
    UNDO,
    back_url,
    page_url,
    undo_url,
)
from flagstaff.admin.looks import parse_version
from flagstaff.admin.parts import PAGES, AppPages
from flagstaff.admin.rights import can_read, hidden_rows, hides_rows, may, may_view
from flagstaff.admin.words import KIND_LABELS, link
from flagstaff.history.deleted import former_key, has_key
from flagstaff.history.describe import may_see_users
from flagstaff.history.export import csv_lines
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    Users,
    about_key,
    events,
    has_text,
    missing_entries,
    stored_actors,
)
from flagstaff.validators import is_secret

_PAGE_SIZE = 50
# The number of users whose name contains the text that are searched for.
_MAX_USERS = 50
_MAX_VERSION = 2**63 - 1
_SHORT = timedelta(days=7)
_SEARCH = say("Search keys, people, reasons").lazy
# The times that are links.
_TIMES = (
    (say("Last hour").lazy, timedelta(hours=1)),
    (say("24 hours").lazy, timedelta(days=1)),
    (say("7 days").lazy, timedelta(days=7)),
)
# Events of apps between the first and the last change of a page.
_MAX_OTHERS = 500
_BEFORE = "before"
# Both have a day beside them in each time zone.
_FIRST_DAY, _LAST_DAY = date(2, 1, 1), date(9998, 12, 30)
# The parameters that are no filters: what is shown, and where it leads.
_NO_FILTERS = {_BEFORE, "format", UNDO, RESTORE, BACK, "_changelist_filters"}


# The filters, which are the parameters of the URL.


class _TimeField(forms.DateTimeField):
    """A time as a browser writes it, in the current time zone. A date is its first moment."""

    widget = forms.TextInput(attrs={"type": "datetime-local", "step": 1})

    def to_python(self, value: Any) -> datetime | None:
        parsed = super().to_python(value)
        try:
            # PostgreSQL knows no offset of 16 hours or more, which is a valid one of Python.
            return parsed and parsed.astimezone(timezone.get_default_timezone())
        except OverflowError:
            raise forms.ValidationError(self.error_messages["invalid"]) from None


class Filters(forms.Form):
    """The filters of a request. Those that are empty select everything."""

    q = forms.CharField(
        required=False,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": _SEARCH, "aria-label": _SEARCH}
        ),
    )
    actor = forms.CharField(
        label=say("Person").lazy,
        help_text=say("A name, a source or a database user").lazy,
        required=False,
    )
    key = forms.CharField(label=say("Key").lazy, required=False)
    transaction = forms.IntegerField(
        required=False, min_value=0, max_value=_MAX_VERSION, widget=forms.HiddenInput
    )

    def __init__(self, query: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        """Takes the labels of the kinds by name, also of those of optional apps."""
        super().__init__(query, auto_id="id_%s")
        self._kinds = kinds
        # No attribute of a class can have the first name.
        self.fields |= {
            "from": _TimeField(label=say("From").local, required=False),
            "to": _TimeField(label=say("To").local, required=False),
            "on": forms.DateField(
                label=say("On the day").local,
                required=False,
                validators=[MaxValueValidator(_LAST_DAY), MinValueValidator(_FIRST_DAY)],
                widget=forms.TextInput(attrs={"type": "date"}),
            ),
            "kind": forms.ChoiceField(
                label=say("Kind").local,
                required=False,
                choices={"": say("all kinds").local, **kinds},
            ),
        }
        self.is_valid()
        for name in sorted(query.keys() - self.fields.keys() - _NO_FILTERS):
            # Without it, the page would show more than was asked for.
            self.add_error(None, say("There is no filter “{name}”.", name=name).local)
        chosen = self.cleaned_data
        #: The name of a kind of rows, or of an optional app; empty for all.
        self.of_kind: str = chosen.get("kind", "")
        #: The present key of rows, or an earlier one.
        self.of_key: str = chosen.get("key", "")
        #: A part of the key or of the reason, or an actor.
        self.text: str = chosen.get("q", "")
        begin, end = _day(chosen["on"]) if chosen.get("on") else (None, None)
        self.since: datetime | None = max(filter(None, (chosen.get("from"), begin)), default=None)
        self.until: datetime | None = min(filter(None, (chosen.get("to"), end)), default=None)
        #: The version of any entry of a transaction.
        self.of_transaction: int | None = chosen.get("transaction")
        self._actor: str = chosen.get("actor", "")

    @property
    def is_narrow(self) -> bool:
        """Whether they select an actor, a time or a transaction, which may be undone as a whole."""
        return bool(self._actor or self.since or self.until or self.of_transaction is not None)

    @property
    def chosen(self) -> str:
        """What the filters behind the button select; those with an error are shown anyway."""
        cleaned = self.cleaned_data
        texts = {name: cleaned.get(name) for name in ("actor", "key", "from", "to", "on", "kind")}
        texts |= {
            name: local_time_text(at) for name, at in texts.items() if isinstance(at, datetime)
        }
        if day := cleaned.get("on"):
            texts["on"] = date_format(day)
        texts["kind"] = self._kinds.get(self.of_kind)
        labels = {name: self.fields[name].label for name in texts}
        return ", ".join(f"{labels[name]} {text}" for name, text in texts.items() if text)

    @property
    def is_short(self) -> bool:
        """Whether the time is short; it may be long ago."""
        return bool(self.since and self.until and self.until - self.since <= _SHORT)

    @cached_property
    def actors(self) -> set[str] | None:
        """The actors as they are stored; None for all. Queries the users."""
        return _actors(self._actor) if self._actor else None

    @cached_property
    def text_actors(self) -> set[str]:
        """The actors that the text may mean. Queries the users."""
        return _actors(self.text) if self.text else set()

    def query(self, **changed: str) -> str:
        """Returns the parameters for links, with others; an empty one is left out."""
        values = {name: self.data.get(name, "") for name in self.fields} | changed
        return urlencode({name: text for name, text in values.items() if text})

    def entries(self, kinds: Collection[Kind]) -> ChangeQuerySet:
        """Returns the entries of these kinds that meet all conditions. Queries the users."""
        kinds = [kind for kind in kinds if self.of_kind in {"", kind.value}]
        entries = Change.objects.of_kinds(kinds)
        if self.of_key:
            entries = entries.filter(about_key(kinds, self.of_key))
        if self.since:
            entries = entries.since(self.since)
        if self.until:
            entries = entries.until(self.until)
        if self.actors is not None:
            entries = entries.filter(_made_by(self.actors, self._actor))
        if self.text:
            entries = entries.filter(has_text(self.text) | _made_by(self.text_actors, self.text))
        if self.of_transaction is not None:
            [*chosen] = Change.objects.filter(pk=self.of_transaction)
            entries = entries.in_transaction(chosen[0]) if chosen else entries.none()
        return entries


def _day(day: date) -> tuple[datetime | None, datetime | None]:
    """Returns the first moments of a day and of the next one, in the current time zone."""
    begin, end = (_TimeField().to_python(day + timedelta(days=days)) for days in (0, 1))
    return begin, end


def _made_by(actors: Collection[str], name: str) -> Q:
    """The condition for entries of actors, or of a database user or a source without an actor."""
    by = Q(actor__in=actors)
    if not is_storable(name):
        return by
    # Of a command without an actor, a page shows the user of the system and the machine.
    sources = [name, f"command ({name})"]
    return by | (Q(actor__isnull=True) & (Q(session_user=name) | Q(source__in=sources)))


def _actors(text: str) -> set[str]:
    """Returns the actors that a text may mean: an actor or a username, or else parts of one."""
    exact = stored_actors(text)
    if len(exact) > 1 or not is_storable(text):
        return exact
    named = partial(_users_named, text)
    return exact | value_or_default("users cannot be searched", named, set[str]())


def _users_named(text: str) -> set[str]:
    users = actor_table()
    if users.username_field is None:
        return set()
    matching = users.rows.filter(**{f"{users.username_field.name}__icontains": text}).order_by()
    return {str(pk) for pk in matching.values_list(users.field.name, flat=True)[:_MAX_USERS]}


def readable_kinds(site: AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see and the role may read. Queries as can_read."""
    return [kind for kind in viewable_kinds(site, request) if can_read(request, kind)]


def viewable_kinds(site: AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see. Without an admin, the permission decides."""
    return [kind for kind in Kind if may(site, request, "view", kind.model)]


def shown_entries(
    site: AdminSite, request: HttpRequest, filters: Filters, kinds: Collection[Kind]
) -> ChangeQuerySet:
    """Returns the entries that meet the filters, without those about hidden rows."""
    entries = filters.entries(kinds)
    for kind in kinds:
        if hidden := hidden_rows(site, request, kind.model):
            entries = entries.exclude(relation__in=kind.relations, object_pk__in=[*hidden])
    return entries


# The page.


class RecentChanges(Page):
    """One page: users who may view flags, values or segments see their changes."""

    name = "changes"
    template = "flagstaff/changes.html"
    docs_page = "how-to/history/"

    def post(self) -> HttpResponse:
        """Undoes what the URL names, after a confirmation."""
        if {UNDO, RESTORE}.isdisjoint(self.request.GET):
            raise PermissionDenied
        return undo_page(self.admin, self.request)

    def get(self) -> HttpResponse:
        """The page, the page that undoes what the URL names, or the CSV."""
        request = self.request
        if not can_read(request, "change_table"):
            return self.show(self._context())
        if not {UNDO, RESTORE}.isdisjoint(request.GET):
            return undo_page(self.admin, request)
        if url := back_url(request):
            text = say("First select the changes that you want to undo.").local
            self.admin.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(url)
        is_csv = request.GET.get("format") == "csv"
        return self._csv() if is_csv else self.show(self._context())

    def _context(self) -> Mapping[str, object]:
        """The rows of a page, and the filters."""
        site, request = self.site, self.request
        filters = _filters(site, request)
        username, now = request.user.get_username(), local_time(timezone.now())
        context = {
            "form": filters,
            "query": filters.query(),
            "chosen": filters.chosen,
            # It has a search of its own.
            "search_url": "",
            # To which an undo returns.
            "back": request.get_full_path(),
            "quick": [
                *(
                    (text, filters.query(**{"from": f"{now - ago:%Y-%m-%dT%H:%M}", "to": ""}))
                    for text, ago in _TIMES
                ),
                (say("Mine").local, filters.query(actor=username)),
            ],
        }
        if not can_read(request, "change_table"):
            text = say("There is no history: it needs PostgreSQL and “manage.py migrate”.").local
            return {**context, "unavailable": text}
        if filters.errors:
            return context
        kinds, readable = viewable_kinds(site, request), readable_kinds(site, request)
        if filters.of_key:
            context["title"] = say("Changes of {key}", key=filters.of_key).local
        of_row = _row_of(filters)
        rows, older = self._rows(filters, readable, of_row)
        together = [int(row.version) for row in rows if row.may_undo]
        is_whole = filters.query() == urlencode({TRANSACTION: filters.of_transaction})
        undo_all = undo_url(site, together)
        # A transaction may have more changes than a page.
        count = len(together) if is_whole else sum(row.is_selectable for row in rows)
        return {
            **context,
            "rows": rows,
            "older": older,
            "missing": _missing_text(),
            "is_secret": of_row is not None and is_secret(of_row),
            "unreadable": [str(KIND_LABELS[kind]) for kind in kinds if kind not in readable],
            "may_select": any(row.is_selectable for row in rows),
            "undo_all": f"?{filters.query()}&{UNDO}={ALL}" if is_whole else undo_all,
            "undo_all_count": count if filters.is_narrow else 0,
            "is_whole": is_whole,
        }

    def _rows(
        self, filters: Filters, kinds: Sequence[Kind], of_row: Any
    ) -> tuple[list[EventRow], str]:
        """The rows of a page, and the query of the next one."""
        site, request = self.site, self.request
        before = request.GET.get(_BEFORE)
        version = parse_version(before) if before else None
        entries = shown_entries(site, request, filters, kinds)
        newest = entries.short().newest(version, few=filters.is_short)[: _PAGE_SIZE + 1]
        [*fetched] = newest if kinds else ()
        page, more = fetched[:_PAGE_SIZE], fetched[_PAGE_SIZE:]
        rows = event_rows(site, request, [*events(page)], history_of=of_row)
        # The events of the apps between the first and the last change of the page.
        since, until = filters.since, filters.until
        if more:
            since = max(filter(None, (aware(page[-1].at), since)))
        if version is not None:
            until = Change.objects.filter(pk=version).values_list("at", flat=True).first()
        older = filters.query(**{_BEFORE: str(page[-1].pk)}) if more else ""
        by_version = {row.version: row for row in rows}
        others = _rows_of_apps(site, request, filters, (since, until), by_version)
        return sorted([*by_version.values(), *others], key=lambda row: row.at, reverse=True), older

    def _csv(self) -> HttpResponse:
        site, request = self.site, self.request
        filters = _filters(site, request)
        filtered = shown_entries(site, request, filters, readable_kinds(site, request))
        entries = () if filters.errors else filtered.in_batches(few=filters.is_short)
        shown = events(entries)
        if not may_see_users(request.user):
            # The numbers stay.
            shown = (
                replace(event, added=Users(event.added.count), removed=Users(event.removed.count))
                for event in shown
            )
        # A first event is read here, so that a problem is not in the middle of the response.
        lines = csv_lines(chain([*islice(shown, 1)], shown))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="changes.csv"'
        return cast("HttpResponse", response)


def _filters(site: AdminSite, request: HttpRequest) -> Filters:
    kinds = {kind.value: str(KIND_LABELS[kind]) for kind in viewable_kinds(site, request)}
    labels = kinds | {pages.name: pages.label for pages in PAGES}
    return Filters(request.GET, labels)


# The rows.


def _row_of(filters: Filters) -> Any:
    """Returns the row whose history this is; None if the filters do not name one. One query."""
    kind = Kind.of_noun(filters.of_kind)
    return kind.find(filters.of_key) if kind and filters.of_key else None


def _rows_of_apps(
    site: AdminSite,
    request: HttpRequest,
    filters: Filters,
    times: tuple[datetime | None, datetime | None],
    changes: dict[str, EventRow],
) -> list[EventRow]:
    """Returns the newest events of the apps that meet the filters. Few queries.

    Those that wrote one of the changes, by version, become a part of its row instead.
    """
    if filters.of_transaction is not None:
        return []
    events: list[tuple[AppPages, Any]] = []
    for pages in PAGES:
        kinds = {"", pages.name, Kind.FLAG.value}
        if filters.of_kind in kinds and may_view(site, request, pages.model):
            problem = f"the app {pages.model._meta.app_label} cannot show its events"
            newest = _events_of_app(site, request, pages, filters, times)[:_MAX_OTHERS]
            newest_events: list[Any] = value_or_default(problem, partial(list, newest), [])
            events += [(pages, event) for event in newest_events]
    rows = []
    for (pages, event), row in zip(
        events, rows_of_app([app_event for _pages, app_event in events]), strict=True
    ):
        subject = getattr(event, pages.name)
        deleted_key = former_key(subject.key)
        url = "" if deleted_key else page_url(site, pages.model, "change", subject.pk)
        state = say("no longer exists").local if deleted_key else ""
        if row.version in changes:
            label = link(url, pages.label)
            changes[row.version] = as_one_act(changes[row.version], row, label)
        elif filters.of_kind in {"", pages.name}:
            key = deleted_key or subject.key
            rows.append(with_subject(row, key, url, pages.label, state))
    return rows


def _events_of_app(
    site: AdminSite,
    request: HttpRequest,
    pages: AppPages,
    filters: Filters,
    times: tuple[datetime | None, datetime | None],
) -> Any:
    """Returns the events of an app that meet the filters, newest first."""
    row = f"{pages.name}__"
    conditions = {
        "at__gte": times[0],
        "at__lt": times[1],
        "actor__in": filters.actors,
    }
    events = all_rows(pages.events).filter(
        **{name: value for name, value in conditions.items() if value is not None}
    )
    if filters.of_key:
        events = events.filter(has_key(filters.of_key, row))
    if filters.text:
        events = events.filter(
            Q(**{f"{row}key__icontains": filters.text}) | Q(actor__in=filters.text_actors)
        )
    # The rows that their list shows, and those that it would.
    listed = site.get_model_admin(pages.model).get_queryset(request).order_by().values("pk")
    shown = Q(**{f"{row}in": listed})
    # The class of a project cannot be asked about a deleted row, of which little is kept.
    if not hides_rows(site, pages.model):
        deleted = pages.deleted_rows(site, request).order_by().values("pk")
        shown |= Q(**{f"{row}in": deleted})
    events = events.filter(shown)
    return events.select_related(pages.name).order_by("-at", "-pk")


def _missing_text() -> str:
    """Returns how many recent changes left no entry; empty if all did. Makes a query."""
    nothing: tuple[int, datetime | None] = 0, None
    count, newest = value_or_default("missing entries cannot be counted", missing_entries, nothing)
    if not count:
        return ""
    at = "" if newest is None else local_time_text(newest)
    return say(
        "{count} recent change is not in the history, which could not be written. The last was "
        "on {time}. The log of PostgreSQL says why, and flags status how to end this notice.",
        "{count} recent changes are not in the history, which could not be written. The last was "
        "on {time}. The log of PostgreSQL says why, and flags status how to end this notice.",
        count=count,
        time=at,
    ).local
