"""The filters of the page of changes, which are the parameters of its URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, time, timedelta
from functools import cached_property, partial, reduce
from operator import or_
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.admin import AdminSite
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from flagstaff._tables.model_fields import find_field
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import is_storable
from flagstaff.admin.fallbacks import hidden_kinds, value_or_default
from flagstaff.admin.rights import hidden_rows, may
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
_MAX_VERSION = 2**63 - 1
# The entries that say what happened to a row.
_ACTIONS = {"create": ["insert"], "delete": ["delete", "truncate"]}
_SHORT = timedelta(days=7)
_SEARCH = gettext_lazy("Search keys, people, reasons")
KIND_LABELS = {
    Kind.FLAG: gettext_lazy("flag"),
    Kind.VALUE: gettext_lazy("value"),
    Kind.SEGMENT: gettext_lazy("segment"),
}
_ACTION_LABELS = {
    "": gettext_lazy("all actions"),
    "create": pgettext_lazy("action", "created"),
    "change": pgettext_lazy("action", "changed"),
    "delete": pgettext_lazy("action", "deleted"),
}
#: The label of each time that is a link.
TIMES = {
    "1h": gettext_lazy("Last hour"),
    "24h": gettext_lazy("24 hours"),
    "7d": gettext_lazy("7 days"),
}
_TIMES = ("from", "to")
_HOURS = {"1h": 1, "24h": 24, "7d": 7 * 24}


class _TimeField(forms.CharField):
    """A time as a browser writes it, in the current time zone; a date is a whole day."""

    widget = forms.TextInput(attrs={"type": "datetime-local", "step": 1})

    def __init__(self, label: str, *, is_end: bool = False) -> None:
        super().__init__(label=label, required=False)
        self._is_end = is_end

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            day = parse_date(text)
            found = parse_datetime(text)
            if day is not None:
                found = datetime.combine(day + timedelta(days=self._is_end), time.min)
            if found is not None:
                found = found if timezone.is_aware(found) else timezone.make_aware(found)
                # PostgreSQL knows no offset of 16 hours or more, which is a valid one of Python.
                return found.astimezone(timezone.get_default_timezone())
        except (ValueError, OverflowError):  # No day follows 9999-12-31.
            pass
        problem = _("“%(text)s” is not a time. Write it as 2026-11-22 14:30 or 2026-11-22.")
        raise forms.ValidationError(problem % {"text": text})


class Filters(forms.Form):
    """The filters of a request. Those that are empty select everything."""

    q = forms.CharField(
        required=False,
        widget=forms.TextInput(
            attrs={
                "type": "search",
                "placeholder": _SEARCH,
                "aria-label": _SEARCH,
            }
        ),
    )
    actor = forms.CharField(
        label=gettext_lazy("Person"),
        help_text=gettext_lazy("A name, a source or a database user"),
        required=False,
    )
    key = forms.CharField(label=gettext_lazy("Key"), required=False)
    exact = forms.BooleanField(label=gettext_lazy("exactly this key"), required=False)
    action = forms.ChoiceField(label=gettext_lazy("Action"), required=False, choices=_ACTION_LABELS)
    time = forms.ChoiceField(required=False, choices=TIMES, widget=forms.HiddenInput)
    transaction = forms.IntegerField(
        label=gettext_lazy("One transaction"),
        required=False,
        min_value=0,
        max_value=_MAX_VERSION,
        widget=forms.HiddenInput,
    )

    def __init__(
        self, query: Mapping[str, Any], kinds: Mapping[str, str], *, may_see_users: bool
    ) -> None:
        """Takes the labels of the kinds by name, also of those of optional apps."""
        super().__init__(query, auto_id="id_%s")
        # No attribute of a class can have the first name.
        self.fields |= {"from": _TimeField(_("From")), "to": _TimeField(_("To"), is_end=True)}
        self.fields["kind"] = forms.ChoiceField(
            label=_("Kind"), required=False, choices={"": _("all kinds"), **kinds}
        )
        self._may_see_users = may_see_users
        self.is_valid()
        chosen = self.cleaned_data
        #: The name of a kind of rows, or of an optional app; empty for all.
        self.of_kind: str = chosen.get("kind", "")
        #: What happened to the rows: create, change or delete; empty for everything.
        self.of_action: str = chosen.get("action", "")
        key: str = chosen.get("key", "")
        #: The present key of rows, or an earlier one.
        self.exact_key = key if chosen.get("exact") else ""
        #: A part of the key, ignoring case.
        self.key_part = "" if self.exact_key else key
        #: A part of the key or of the reason, or an actor.
        self.text: str = chosen.get("q", "")
        self.since: datetime | None = chosen.get("from")
        self.until: datetime | None = chosen.get("to")
        hours = _HOURS.get(chosen.get("time", ""))
        if hours and not (self.since or self.until):
            self.since = timezone.now() - timedelta(hours=hours)
        self._actor: str = chosen.get("actor", "")
        #: The version of any entry of a transaction.
        self.of_transaction: int | None = chosen.get("transaction")

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
        return self._actors(self._actor) if self._actor else None

    @cached_property
    def text_actors(self) -> set[str]:
        """The actors that the text may mean. Queries the users."""
        return self._actors(self.text) if self.text else set()

    def query(self, **changed: str) -> str:
        """Returns the parameters for links, with others; an empty one is left out."""
        values = {name: self.data.get(name, "") for name in self.fields} | changed
        return urlencode({name: text for name, text in values.items() if text})

    def chosen(self) -> list[tuple[str, str]]:
        """Returns a text for each filter that is set, and the query without it."""
        chosen = []
        for name, field in self.fields.items():
            value = str(self.data.get(name, ""))
            if not value or name == "q":
                continue
            text = str(field.label)
            if isinstance(field, forms.ChoiceField):
                text = str(dict(self.fields[name].choices).get(value, value))  # type: ignore[attr-defined]
            elif isinstance(field, forms.CharField):
                text = f"{text}: {value.replace('T', ' ') if name in _TIMES else value}"
            chosen.append((str(capfirst(text)), self.query(**{name: ""})))
        return chosen

    # The entries.

    def entries(self, kinds: Collection[Kind]) -> ChangeQuerySet:
        """Returns the entries of these kinds that meet all conditions. Queries the users."""
        kinds = [kind for kind in kinds if self.of_kind in {"", kind.value}]
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
            entries = entries.filter(_made_by(self.actors, self._actor))
        if self.text:
            entries = entries.filter(has_text(self.text) | _made_by(self.text_actors, self.text))
        if self.of_transaction is not None:
            [*found] = Change.objects.filter(pk=self.of_transaction)
            entries = entries.in_transaction(found[0]) if found else entries.none()
        if self.of_action == "change":
            entries = entries.filter(Q(action=Change.Action.UPDATE) | Q(relation=ALLOWED_USERS))
        elif self.of_action:
            rows = [kind.row_relation for kind in kinds]
            entries = entries.filter(action__in=_ACTIONS[self.of_action], relation__in=rows)
        return entries

    def _actors(self, text: str) -> set[str]:
        """Returns the actors that a text may mean: an actor or a username, or else parts of names.

        Those who may not see users can search by username only: it is what the page shows.
        """
        exact = stored_actors(text)
        if len(exact) > 1 or not is_storable(text):
            return exact
        named = partial(_users_named, text, _NAME_FIELDS if self._may_see_users else ())
        return exact | value_or_default("users cannot be searched", named, set[str]())


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


def readable_kinds(site: AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see and the role may read. Queries as can_read."""
    hidden = hidden_kinds(request)
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
