"""The search over everything: the rows whose key, description, owner or tags have a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Case, Model, Value, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.tags import usable_tags
from flagstaff._words.rule_text import conditions_text
from flagstaff.admin.app_pages import PAGES
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.state import class_and_label, count_missing
from flagstaff.admin.links import admin_of, page_url
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value

# The rows of a kind that the page shows.
_MAX_ROWS = 20
# The length of a description, and of a value.
_MAX_TEXT, _MAX_VALUE = 150, 60

#: Returns the state of a row, which may be HTML, and a text about it.
_Describe = Callable[[Any], tuple[str, str]]


def groups_of(site: AdminSite, request: HttpRequest, text: str) -> list[Mapping[str, object]]:
    """Returns the kinds that the user may view and that have such rows. One query for each kind."""
    groups = (_group(site, request, text, *searched) for searched in _searched())
    return [group for group in groups if group.get("rows") or group.get("is_unreadable")]


def _searched() -> Iterator[tuple[type[Model], _Describe]]:
    yield conf.flag_model, _flag
    yield conf.value_model, _value
    yield segment_model(), _segment
    for pages in PAGES:
        yield pages.model, pages.describe


def _group(
    site: AdminSite, request: HttpRequest, text: str, model: type[Model], describe: _Describe
) -> Mapping[str, object]:
    model_admin = admin_of(site, model)
    if model_admin is None or not model_admin.has_view_permission(request):
        return {}
    name = str(capfirst(model._meta.verbose_name_plural))
    read = partial(_rows, model_admin, request, text, describe)
    rows = value_or_default(f"the search cannot read: {name}", read, None)
    if rows is None:
        return {"name": name, "is_unreadable": True}
    url = f"{page_url(site, model, 'changelist')}?{urlencode({SEARCH_VAR: text})}"
    return {
        "name": name,
        "rows": rows[:_MAX_ROWS],
        "all_url": url if len(rows) > _MAX_ROWS else "",
    }


def _rows(
    model_admin: ModelAdmin[Any], request: HttpRequest, text: str, describe: _Describe
) -> list[Mapping[str, object]]:
    """Returns the rows that the search of the list finds, and one more than a page shows."""
    every = model_admin.get_queryset(request).using(conf.database)
    if model_admin.get_search_fields(request):
        found, has_duplicates = model_admin.get_search_results(request, every, text)
        if has_duplicates:
            found = every.filter(pk__in=found.order_by().values("pk"))
    else:
        # Without fields, Django's search finds all rows.
        found = every.filter(key__icontains=text)
    is_other = Case(When(key=text, then=Value(0)), default=Value(1))
    rows = list(found.order_by(is_other, "key", "-pk")[: _MAX_ROWS + 1])
    if model_admin.model is conf.flag_model:
        count_missing(rows)
    return [
        {
            "key": row.key,
            "url": page_url(model_admin.admin_site, model_admin.model, "change", row.pk),
            "state": state,
            "text": about,
        }
        for row in rows
        for state, about in [describe(row)]
    ]


def _flag(flag: Any) -> tuple[str, str]:
    css_class, label = class_and_label(flag)
    state = format_html('<span class="flagstaff-state flagstaff-{}">{}</span>', css_class, label)
    parts = (flag.description, flag.owner, *usable_tags(flag.tags))
    return state, _short(" · ".join(filter(None, parts)))


def _value(row: Any) -> tuple[str, str]:
    value = describe_value(row.value, secret=is_secret(row), limit=_MAX_VALUE)
    return format_html('<span class="flagstaff-json">{}</span>', value), _short(row.description)


def _segment(segment: Any) -> tuple[str, str]:
    conditions = conditions_text(segment.conditions) or _("unreadable conditions")
    return "", _short(" · ".join(filter(None, (segment.description, conditions))))


def _short(text: str | None) -> str:
    return Truncator(text or "").chars(_MAX_TEXT)
