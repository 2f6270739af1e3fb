"""The section with the newest changes of a flag."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flagstaff.admin.event_cells import event_cells, visible_events
from flagstaff.admin.links import page_url
from flagstaff.admin.readable_tables import can_read
from flagstaff.history.kinds import Kind

_COUNT = 5


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
