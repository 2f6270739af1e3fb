"""The filters of a list as menus in one line above it, instead of a column beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.templatetags.admin_list import admin_list_filter
from django.contrib.admin.views.main import ChangeList
from django.template.response import TemplateResponse

from flagstaff.admin.views import is_djangos_template

# The filters of a list that have a menu of their own. The others share one.
_OWN_MENUS = 4
# The template of filters that are lists of choices.
_CHOICES = "admin/filter.html"


def filter_strip(page: TemplateResponse, changelist: ChangeList) -> Mapping[str, object] | None:
    """Returns the filters as menus in one line above the list, instead of a column beside it.

    None for a page of a theme, which has its own place for filters.
    """
    if not is_djangos_template(page):
        return None
    menus = [_filter_menu(changelist, spec) for spec in changelist.filter_specs]
    first, more = menus[:_OWN_MENUS], menus[_OWN_MENUS:]
    return {"first": first, "more": more, "is_more_set": any(menu["chosen"] for menu in more)}


def _filter_menu(changelist: ChangeList, spec: Any) -> Mapping[str, object]:
    choices = list(spec.choices(changelist))
    is_set = any(name in changelist.params for name in spec.expected_parameters())
    chosen = (str(one["display"]) for one in choices if is_set and one.get("selected"))
    # A filter with a template of its own is HTML.
    is_own = spec.template != _CHOICES
    return {
        "title": str(spec.title),
        # The text of the present choice; empty if the filter is not set.
        "chosen": next(chosen, "…" if is_set else ""),
        "choices": () if is_own else choices,
        "html": admin_list_filter(changelist, spec) if is_own else "",
    }
