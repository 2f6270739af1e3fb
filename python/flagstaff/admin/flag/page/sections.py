"""The parts of the page of a flag, around Django's form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flagstaff._tables.flag_states import FlagState
from flagstaff._words.message import localized
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.page.release import release
from flagstaff.admin.flag.page.who_has_it import who_has_it
from flagstaff.admin.flag.parts.app_panels import notes_about
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
    holds_users_back,
    partial_rule_notices,
    summary,
)
from flagstaff.admin.history.event_cells import event_cells, visible_events
from flagstaff.admin.links import page_url
from flagstaff.admin.page import stored_row
from flagstaff.admin.part import Part
from flagstaff.admin.permissions import may, may_toggle, why_not_toggle
from flagstaff.changes.messages import USERS_NOT_COUNTED
from flagstaff.changes.planned import present_impact
from flagstaff.history.kinds import Kind

if TYPE_CHECKING:
    from flagstaff.admin.row_admin import RowAdmin

_MAX_NOTICES = 3
# Seconds for which the page waits for the count of users.
_COUNT_TIMEOUT = 0.5
_COUNT = 5
#: Returns a part of the page of a flag; empty if there is nothing to show.
Section: TypeAlias = "Callable[[admin.ModelAdmin[Any], HttpRequest, Any], SafeString]"


def head(model_admin: RowAdmin, request: HttpRequest, flag: Any) -> SafeString:
    """Returns the head of the page. Makes the queries of the notes of optional apps."""
    flag = stored_row(flag)
    allowed: int = getattr(flag, ALLOWED_COUNT)
    css_class, label = class_and_label(flag)
    is_toggler = may_toggle(model_admin, request, flag)
    site, model = model_admin.admin_site, model_admin.model
    context = {
        "key": flag.key,
        "is_on": flag.enabled,
        "css_class": css_class,
        "label": label,
        "summary": summary(flag, allowed, enabled=flag.enabled),
        "kill_url": page_url(site, model, "kill", flag.pk),
        "turn_on_url": page_url(site, model, "turn_on", flag.pk),
        "notices": [*_notices(model_admin, flag)][:_MAX_NOTICES],
        "release_url": page_url(site, model, "release", flag.pk)
        if holds_users_back(flag) and may(site, request, "change", flag)
        else "",
        **_reach(flag),
        "may_toggle": is_toggler,
        "why_not": "" if is_toggler else why_not_toggle(model_admin),
    }
    return render_to_string("flagstaff/flag_page/head.html", context)


def _reach(flag: Any) -> dict[str, object]:
    """How many users have an enabled flag with rules, and by which rule."""
    state = FlagState.of(flag)
    if not (state.enabled and state.has_rules):
        return {}
    impact = present_impact(flag, timeout=_COUNT_TIMEOUT)
    if impact is None:
        return {"reach_problem": localized(USERS_NOT_COUNTED())}
    return {
        "reach": localized(impact.after.text(impact.users)),
        "reach_of_rules": [localized(text) for text in impact.after.texts],
    }


def _notices(model_admin: RowAdmin, flag: Any) -> Iterator[str]:
    if text := forced_off_notice(flag):
        yield text
    yield from partial_rule_notices(FlagState.of(flag))
    yield from notes_about(model_admin, flag)


def recent_changes(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any
) -> SafeString:
    """Returns the section; empty without a history. Makes up to three queries, and can_read's."""
    if not can_read(request, "change_table"):
        return SafeString()
    events = list(visible_events(request, Kind.FLAG, flag.pk, limit=_COUNT))
    context = {
        "rows": event_cells(request, events),
        "history": page_url(model_admin.admin_site, model_admin.model, "history", flag.pk),
    }
    return render_to_string("flagstaff/flag_page/recent_changes.html", context)


# Below the form.
_SECTIONS: tuple[Section, ...] = (who_has_it, release, recent_changes)


class FlagSections(Part):
    """The head of the page, and the sections below the form."""

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """The parts of the page of an existing flag."""
        if row is None:
            return {}
        return {
            # The head shows the key.
            "subtitle": None,
            "flagstaff_head": head(self.admin, request, row),
            "flagstaff_sections": [section(self.admin, request, row) for section in _SECTIONS],
        }
