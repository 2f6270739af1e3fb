"""The parts of the page of a flag, around Django's form."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flagstaff._tables.flag_states import FlagState
from flagstaff.admin.changes.events import event_rows, without_hidden_users
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.page.release import release
from flagstaff.admin.flag.page.who_has_it import who_has_it
from flagstaff.admin.flag.parts.app_panels import app_panels, texts_about
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
    holds_users_back,
    partial_rule_notices,
    summary,
)
from flagstaff.admin.links import page_url
from flagstaff.admin.page import stored_row
from flagstaff.admin.part import AdminOfParts, Part
from flagstaff.admin.rights import may, why_not_toggle
from flagstaff.admin.views import environment_context
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, events

# Seconds for which the page waits for the count of users.
_COUNT_TIMEOUT = 0.5
# The newest events, among a few entries.
_COUNT, _MAX_ENTRIES = 5, 20


def head(model_admin: AdminOfParts, request: HttpRequest, flag: Any) -> Mapping[str, object]:
    """Returns what the head of the page shows. Makes the queries of the notes of optional apps."""
    flag = stored_row(flag)
    css_class, label = class_and_label(flag)
    site, model = model_admin.admin_site, model_admin.model
    may_release = holds_users_back(flag) and may(site, request, "change", flag)
    texts = texts_about(model_admin, flag)
    notices = (forced_off_notice(flag), *partial_rule_notices(FlagState.of(flag)))
    return {
        "key": flag.key,
        "is_on": flag.enabled,
        "css_class": css_class,
        "label": label,
        "summary": summary(flag, getattr(flag, ALLOWED_COUNT), enabled=flag.enabled),
        "toggle_url": page_url(site, model, "kill" if flag.enabled else "turn_on", flag.pk),
        "release_url": page_url(site, model, "release", flag.pk) if may_release else "",
        "attention": [*texts.attention, *filter(None, notices)],
        "notes": texts.notes,
        **_reach(request, flag),
        "why_not": "" if may(site, request, "toggle", flag) else why_not_toggle(model),
    }


def _reach(request: HttpRequest, flag: Any) -> dict[str, object]:
    """How many users have an enabled flag with rules."""
    state = FlagState.of(flag)
    if not (state.enabled and state.has_rules):
        return {}
    found = impact_of_enabling([flag], timeout=_COUNT_TIMEOUT, viewer=request.user)
    [effect] = found.values()
    return {"reach": users_text(effect, effect.on[1])}


def recent_changes(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any
) -> SafeString:
    """Returns the section; empty without a history. Makes up to three queries, and can_read's."""
    if not can_read(request, "change_table"):
        return SafeString()
    newest = [*Change.objects.of_row(Kind.FLAG, flag.pk).short().newest()[:_MAX_ENTRIES]]
    shown = [*islice(without_hidden_users(request, events(newest)), _COUNT)]
    history = page_url(model_admin.admin_site, model_admin.model, "history", flag.pk)
    rows = event_rows(model_admin.admin_site, request, shown, lambda _event: True, row=flag)
    context = {"rows": rows, "history": history}
    return render_to_string("flagstaff/flag_page/recent_changes.html", context)


# Beside the form, below the panels of the optional apps.
_SECTIONS = (who_has_it, release, recent_changes)


class FlagSections(Part):
    """The head of the page, and the sections beside the form."""

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """The parts of the page of an existing flag."""
        if row is None:
            return {}
        return {
            "flagstaff_head": head(self.admin, request, row),
            "flagstaff_panels": app_panels(self.admin, request, row),
            "flagstaff_sections": [section(self.admin, request, row) for section in _SECTIONS],
            **environment_context(),
        }
