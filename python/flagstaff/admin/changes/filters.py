"""The filters of the page of changes, which are the parameters of its URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import is_storable
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.history.kinds import Kind
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    about_key,
    has_text,
    stored_actors,
    unreadable_kinds,
)

# The number of users whose name contains the text that are searched for.
_MAX_USERS = 50
_MAX_VERSION = 2**63 - 1
_SHORT = timedelta(days=7)
_SEARCH = gettext_lazy("Search keys, people, reasons")
KIND_LABELS = {
    Kind.FLAG: gettext_lazy("flag"),
    Kind.VALUE: gettext_lazy("value"),
    Kind.SEGMENT: gettext_lazy("segment"),
}
#: The times that are links.
TIMES = (
    (gettext_lazy("Last hour"), timedelta(hours=1)),
    (gettext_lazy("24 hours"), timedelta(days=1)),
    (gettext_lazy("7 days"), timedelta(days=7)),
)


class _TimeField(forms.DateTimeField):
    """A time as a browser writes it, in the current time zone. A date is its first moment."""

    widget = forms.TextInput(attrs={"type": "datetime-local", "step": 1})

    def to_python(self, value: Any) -> datetime | None:
        found = super().to_python(value)
        try:
            # PostgreSQL knows no offset of 16 hours or more, which is a valid one of Python.
            return found and found.astimezone(timezone.get_default_timezone())
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
        label=gettext_lazy("Person"),
        help_text=gettext_lazy("A name, a source or a database user"),
        required=False,
    )
    key = forms.CharField(label=gettext_lazy("Key"), required=False)
    transaction = forms.IntegerField(
        required=False, min_value=0, max_value=_MAX_VERSION, widget=forms.HiddenInput
    )

    def __init__(self, query: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        """Takes the labels of the kinds by name, also of those of optional apps."""
        super().__init__(query, auto_id="id_%s")
        # No attribute of a class can have the first name.
        self.fields |= {
            "from": _TimeField(label=_("From"), required=False),
            "to": _TimeField(label=_("To"), required=False),
            "kind": forms.ChoiceField(
                label=_("Kind"), required=False, choices={"": _("all kinds"), **kinds}
            ),
        }
        self.is_valid()
        chosen = self.cleaned_data
        #: The name of a kind of rows, or of an optional app; empty for all.
        self.of_kind: str = chosen.get("kind", "")
        #: The present key of rows, or an earlier one.
        self.of_key: str = chosen.get("key", "")
        #: A part of the key or of the reason, or an actor.
        self.text: str = chosen.get("q", "")
        self.since: datetime | None = chosen.get("from")
        self.until: datetime | None = chosen.get("to")
        #: The version of any entry of a transaction.
        self.of_transaction: int | None = chosen.get("transaction")
        self._actor: str = chosen.get("actor", "")

    @property
    def is_narrow(self) -> bool:
        """Whether they select an actor, a time or a transaction, which may be undone as a whole."""
        return bool(self._actor or self.since or self.until or self.of_transaction is not None)

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
            [*found] = Change.objects.filter(pk=self.of_transaction)
            entries = entries.in_transaction(found[0]) if found else entries.none()
        return entries


def _made_by(actors: Collection[str], name: str) -> Q:
    """The condition for entries of actors, or of a database user or a source without an actor."""
    by = Q(actor__in=actors)
    if not is_storable(name):
        return by
    return by | (Q(actor__isnull=True) & (Q(session_user=name) | Q(source=name)))


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
    found = users.rows.filter(**{f"{users.username_field.name}__icontains": text}).order_by()
    return {str(pk) for pk in found.values_list(users.field.name, flat=True)[:_MAX_USERS]}


def readable_kinds(site: AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see and the role may read. One query."""
    hidden = unreadable_kinds()
    return [kind for kind in viewable_kinds(site, request) if kind not in hidden]


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
