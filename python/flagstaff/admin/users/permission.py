"""The permissions to see, add and remove the allowed users of a flag."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.permissions import is_toggle_page
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users, permission_to_see_users


def why_not_change_users(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any
) -> str:
    """Returns why the user of the request may not add and remove allowed users, or ""."""
    if not may_see_users(request.user):
        return needs_view_user_text()
    if conf.read_only:
        return _("These pages are read-only: the setting READ_ONLY is True.")
    # On the page of a flag, Django sees a user who may only toggle it as one who may change it.
    if not model_admin.has_change_permission(request, flag) or is_toggle_page(request):
        return _("To add or remove users, you need the permission to change this flag.")
    return ""


def needs_view_user_text() -> str:
    """Returns the sentence that names the permission to see users."""
    text = _("To see users, you need the permission “%(name)s”.")
    return text % {"name": permission_to_see_users()}
