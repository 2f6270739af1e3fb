"""Who may see, add and remove the allowed users of a flag."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.flag_permissions import is_toggle_page
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users, permission_to_see_users

__all__ = ["needs_view_user_text", "why_not_change_users"]


def why_not_change_users(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any
) -> str:
    """Returns why the user of the request may not add and remove allowed users, or ""."""
    if not may_see_users(request.user):
        return needs_view_user_text()
    if conf.read_only:
        return _("These pages are read-only: the setting READ_ONLY is on.")
    # On its page, a user who may only toggle a flag has the right to change it.
    if not model_admin.has_change_permission(request, flag) or is_toggle_page(request):
        return _("You may not change this flag, so you cannot add or remove users.")
    return ""


def needs_view_user_text() -> str:
    """Returns the sentence that names the permission to see users."""
    text = _("To see users, you need the permission %(name)s.")
    return text % {"name": permission_to_see_users()}
