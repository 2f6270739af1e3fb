"""The search over everything: the rows whose key, description, owner or tags have a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Case, Model, Value, When
from django.http import HttpResponse
from django.utils.html import format_html
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.flag_states import FlagState, state_label, state_of
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.tags import usable_tags
from flagstaff._words.rule_text import conditions_text
from flagstaff.admin.app_pages import PAGES
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.state import ALLOWED_COUNT, with_allowed_count
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.table import Column, Content, Page, Table, link
from flagstaff.admin.words import badge, key_link
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value

# The rows of a kind that the page shows.
_MAX_ROWS = 20
# The length of what is typed, of a description, and of a value.
_MAX_SEARCH, _MAX_TEXT, _MAX_VALUE = 200, 150, 60

#: Returns the state of a row, which may be HTML, and a text about it.
_Describe = Callable[[Any], tuple[str, str]]


class Search(Page):
    """Users find the rows of all kinds that they may view."""

    docs_page = "how-to/admin/"

    def get(self) -> HttpResponse:
        """Returns the page, with the text in the box of the search."""
        return self.show({"page": self.content(), "search": self._text})

    def content(self) -> Content:
        """A table for each kind that has such rows. Makes one query for each kind."""
        if not self._text:
            text = _("Type a part of a key, a description, an owner or a tag.")
            return Content(sentence=text)
        tables = [*filter(None, (self._table(*searched) for searched in _searched()))]
        none = _("Nothing has “%(search)s” in its key, description, owner or tags.")
        return Content(sentence="" if tables else none % {"search": self._text}, tables=tables)

    @property
    def _text(self) -> str:
        return self.request.GET.get(SEARCH_VAR, "").strip()[:_MAX_SEARCH]

    def _table(self, model: type[Model], describe: _Describe) -> Table | None:
        """The rows of a kind; None if there are none, or if the user may not view them."""
        model_admin = admin_of(self.site, model)
        if model_admin is None or not model_admin.has_view_permission(self.request):
            return None
        name = str(capfirst(model._meta.verbose_name_plural))
        columns = [Column(_("Key")), Column(_("State")), Column(_("Details"))]
        read = partial(self._rows, model_admin)
        rows = value_or_default(f"the search cannot read: {name}", read, None)
        if rows is None:
            unreadable = _("This cannot be read. Run “manage.py migrate”, or read the log.")
            return Table(columns, [], name, unreadable)
        if not rows:
            return None
        url = f"{page_url(self.site, model, 'changelist')}?{urlencode({SEARCH_VAR: self._text})}"
        every = link(url, _("Show all in the list")) if len(rows) > _MAX_ROWS else ""
        shown = [
            (key_link(row.key, page_url(self.site, model, "change", row.pk)), *describe(row))
            for row in rows[:_MAX_ROWS]
        ]
        return Table(columns, shown, name, note=every)

    def _rows(self, model_admin: ModelAdmin[Any]) -> Sequence[Any]:
        """Returns the rows that the search of the list finds, and one more than a page shows."""
        every = model_admin.get_queryset(self.request).using(conf.database)
        if model_admin.get_search_fields(self.request):
            found, has_duplicates = model_admin.get_search_results(self.request, every, self._text)
            if has_duplicates:
                found = every.filter(pk__in=found.order_by().values("pk"))
        else:
            # Without fields, Django's search finds all rows.
            found = every.filter(key__icontains=self._text)
        is_other = Case(When(key=self._text, then=Value(0)), default=Value(1))
        if model_admin.model is conf.flag_model:
            found = with_allowed_count(found)
        return list(found.order_by(is_other, "key", "-pk")[: _MAX_ROWS + 1])


def _searched() -> Iterator[tuple[type[Model], _Describe]]:
    yield conf.flag_model, _flag
    yield conf.value_model, _value
    yield segment_model(), _segment
    for pages in PAGES:
        yield pages.model, pages.describe


def _flag(flag: Any) -> tuple[str, str]:
    state, allowed = FlagState.of(flag), getattr(flag, ALLOWED_COUNT)
    parts = (flag.description, flag.owner, *usable_tags(flag.tags))
    label = badge(state_of(state, allowed).value, state_label(state, allowed))
    return label, _short(" · ".join(filter(None, parts)))


def _value(row: Any) -> tuple[str, str]:
    value = describe_value(row.value, secret=is_secret(row), limit=_MAX_VALUE)
    return format_html('<span class="flagstaff-json">{}</span>', value), _short(row.description)


def _segment(segment: Any) -> tuple[str, str]:
    conditions = conditions_text(segment.conditions) or _("unreadable conditions")
    return "", _short(" · ".join(filter(None, (segment.description, conditions))))


def _short(text: str | None) -> str:
    return Truncator(text or "").chars(_MAX_TEXT)
