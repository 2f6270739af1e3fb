"""The impact of a form before it is saved: how many users would gain or lose the flag."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern
from django.utils.translation import ngettext

from flagstaff._tables.flag_states import FlagState
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.flag_permissions import mark_toggle_page
from flagstaff.admin.links import page_url, row_path
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.page_row import stored_row
from flagstaff.admin.rollout import RolloutInput
from flagstaff.changes.messages import USERS_NOT_COUNTED
from flagstaff.changes.planned import Planned, impact_text, planned, planned_edit

#: The button that counts without a script.
COUNT = "_count"


class ImpactMixin(ModelAdminMixin):
    """Put it before ModelAdmin."""

    def get_urls(self) -> list[URLPattern]:
        """The URLs of the admin, with the one that a script requests."""
        return [row_path(self, "impact", self.impact_view), *super().get_urls()]

    def impact_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Returns the sentence about what the form has posted, as JSON. Writes nothing."""
        flag = self.get_object(request, unquote(object_id))
        if flag is None:
            raise Http404
        if request.method != "POST" or not self.has_view_permission(request, flag):
            raise PermissionDenied
        mark_toggle_page(self, request)
        form = self.get_form(request, flag, change=True)(request.POST, instance=flag)
        return JsonResponse({"text": form_impact(stored_row(flag), form)})


def show_impact(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, form: Any, flag: Any
) -> None:
    """Gives the rollout's input the URL at which a script counts users, or the counted users."""
    rollout = form.fields.get("rollout_percent")
    if rollout is None or not isinstance(rollout.widget, RolloutInput):
        return
    rollout.widget.impact_url = page_url(
        model_admin.admin_site, model_admin.model, "impact", flag.pk
    )
    if COUNT in request.POST:
        # The form of the page is shown again unchecked.
        checked = type(form)(request.POST, instance=copy(stored_row(flag)))
        checked.is_review = False
        rollout.widget.impact_text = form_impact(stored_row(flag), checked)


def form_impact(flag: Any, form: Any) -> str:
    """Returns the sentence about a form; without edits, how many users have the flag now."""
    form.is_valid()
    edited = {
        name: form.cleaned_data[name] for name in form.changed_data if name in form.cleaned_data
    }
    change = planned_edit(flag, edited)
    now = FlagState.of(flag)
    after = now if change is None else change.after
    if not after.enabled and not now.enabled:
        on = planned(flag.key, now, replace(after, enabled=True))
        return _counted(on, _if_on)
    if change is None or change.before == change.after:
        present = planned(flag.key, replace(now, enabled=False), now)
        return _counted(present, _now)
    return impact_text(change)


def _counted(change: Planned, text: Callable[[int], str]) -> str:
    if change.impact is None:
        return localized(USERS_NOT_COUNTED())
    counts = {"count": change.impact.after.on, "users": change.impact.users}
    numbers = {name: local_number(count) for name, count in counts.items()}
    return text(change.impact.users) % numbers


def _if_on(users: int) -> str:
    return ngettext(
        "If the flag were on, %(count)s of %(users)s user would have it.",
        "If the flag were on, %(count)s of %(users)s users would have it.",
        users,
    )


def _now(users: int) -> str:
    return ngettext(
        "%(count)s of %(users)s user has the flag now.",
        "%(count)s of %(users)s users have the flag now.",
        users,
    )
