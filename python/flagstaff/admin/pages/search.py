"""The search over everything: the rows whose key, description, owner or tags have a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Case, Model, Value, When
from django.http import HttpResponse
from django.utils.text import capfirst

from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import declared_rows, segment_model
from flagstaff._text import say
from flagstaff.admin.base_admin import Content, Page, search_problem
from flagstaff.admin.links import page_url, row_id
from flagstaff.admin.looks import state_and_label, with_counts
from flagstaff.admin.parts import PAGES
from flagstaff.admin.rights import admin_of, may
from flagstaff.admin.words import Column, Table, badge, json_html, key_link, link, short
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.validators import is_secret, usable_tags

# The rows of a kind that the page shows.
_MAX_ROWS = 20
# The length of a description, and of a value.
_MAX_TEXT, _MAX_VALUE = 150, 60

#: Returns of each row the state, which may be HTML, and a text about it.
_Describe = Callable[[Sequence[Any]], Iterable[tuple[str, str]]]


class Search(Page):
    """Users find the rows of all kinds that they may view."""

    name = "search"

    def get(self) -> HttpResponse:
        """Returns the page, with the text in the box of the search."""
        return self.show({"page": self.content(), "search": self._text})

    def content(self) -> Content:
        """A table for each kind that has such rows. Makes one query for each kind."""
        if not self._text:
            text = say("Type a part of a key, a description, an owner or a tag.").local
            return Content(sentence=text)
        if problem := search_problem(self._text):
            return Content(sentence=problem)
        tables = [*filter(None, (self._table(*searched) for searched in _searched()))]
        return Content(
            sentence=""
            if tables
            else say(
                "Nothing has “{search}” in its key, description, owner or tags.", search=self._text
            ).local,
            tables=tables,
        )

    @property
    def _text(self) -> str:
        return self.request.GET.get(SEARCH_VAR, "").strip()

    def _table(self, model: type[Model], describe: _Describe) -> Table | None:
        """The rows of a kind; None if there are none, or if the user may not search them."""
        model_admin = admin_of(self.site, model)
        # Without fields, Django's search finds all rows.
        if not (
            model_admin
            and model_admin.has_view_permission(self.request)
            and model_admin.search_fields
        ):
            return None
        name = str(capfirst(model._meta.verbose_name_plural))
        columns = [
            Column(say("Key").local),
            Column(say("State").local),
            Column(say("Details").local),
        ]
        read = partial(self._rows, model_admin)
        rows = value_or_default(f"the search cannot read: {name}", read, None)
        if rows is None:
            unreadable = say("This cannot be read. Run “manage.py migrate”, or read the log.").local
            return Table(columns, [], name, unreadable)
        if not rows:
            return None
        url = f"{page_url(self.site, model, 'changelist')}?{urlencode({SEARCH_VAR: self._text})}"
        link_to_all = link(url, say("Show all in the list").local) if len(rows) > _MAX_ROWS else ""
        shown = [
            (key_link(row.key, page_url(self.site, model, "change", row_id(row))), *texts)
            for row, texts in zip(rows[:_MAX_ROWS], describe(rows[:_MAX_ROWS]), strict=True)
        ]
        return Table(columns, shown, name, note=link_to_all)

    def _rows(self, model_admin: ModelAdmin[Any]) -> Sequence[Any]:
        """Returns the rows that the search of the list finds, and one more than a page shows."""
        queryset = model_admin.get_queryset(self.request).using(db.alias)
        matching, has_duplicates = model_admin.get_search_results(
            self.request, queryset, self._text
        )
        is_other = Case(When(key=self._text, then=Value(0)), default=Value(1))
        ordered = (matching.distinct() if has_duplicates else matching).order_by(
            is_other, "key", "-pk"
        )
        counted = with_counts(ordered) if model_admin.model is conf.flag_model else ordered
        declared = [
            row
            for row in declared_rows(model_admin.model)
            if self._text.casefold() in f"{row.key} {row.description}".casefold()
            and may(self.site, self.request, "view", row)
        ]
        return [*counted[: _MAX_ROWS + 1], *declared][: _MAX_ROWS + 1]


def _searched() -> Iterator[tuple[type[Model], _Describe]]:
    yield conf.flag_model, partial(map, _flag)
    yield conf.value_model, partial(map, _value)
    yield segment_model(), partial(map, _segment)
    for pages in PAGES:
        yield pages.model, pages.describe


def _flag(flag: Any) -> tuple[str, str]:
    parts = (flag.description, flag.owner, *usable_tags(flag.tags))
    state, label = state_and_label(flag)
    return badge(state.value, label), short(" · ".join(filter(None, parts)), _MAX_TEXT)


def _value(row: Any) -> tuple[str, str]:
    value = describe_value(row.value, secret=is_secret(row), limit=_MAX_VALUE)
    return json_html(value), short(row.description, _MAX_TEXT)


def _segment(segment: Any) -> tuple[str, str]:
    return "", short(segment.description, _MAX_TEXT)
