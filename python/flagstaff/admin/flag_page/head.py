"""The head of the page of a flag: which users have it, and the button *Kill…* or *Turn on…*."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flagstaff.admin.app_panels import notes_about
from flagstaff.admin.flag_permissions import may_toggle, why_not_toggle
from flagstaff.admin.flag_state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
    summary,
)
from flagstaff.admin.links import page_url
from flagstaff.admin.page import stored_row

_MAX_NOTICES = 2


def head(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the head of the page. Makes the queries of the notes of optional apps."""
    flag = stored_row(flag)
    allowed: int = getattr(flag, ALLOWED_COUNT)
    css_class, label = class_and_label(flag)
    may = may_toggle(model_admin, request, flag)
    site, model = model_admin.admin_site, model_admin.model
    context = {
        "key": flag.key,
        "is_on": flag.enabled,
        "css_class": css_class,
        "label": label,
        "summary": summary(flag, allowed, enabled=flag.enabled),
        "kill_url": page_url(site, model, "kill", flag.pk),
        "turn_on_url": page_url(site, model, "turn_on", flag.pk),
        "notices": [*_notices(flag)][:_MAX_NOTICES],
        "may_toggle": may,
        "why_not": "" if may else why_not_toggle(model_admin),
    }
    return render_to_string("flagstaff/flag_page/head.html", context)


def _notices(flag: Any) -> Iterator[str]:
    if text := forced_off_notice(flag):
        yield text
    yield from notes_about(flag)
