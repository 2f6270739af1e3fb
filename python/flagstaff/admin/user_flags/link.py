"""The link from the page of a user in the project's own admin to the flags of the user."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.user_flags.page import USER
from flagstaff.admin.views import extend_template
from flagstaff.history.user_names import may_see_users
from flagstaff.models import FlagsOfUser


class UserFlagsMixin(ModelAdminMixin):
    """Adds a link to the flags of a user to the page of the user. Put it before UserAdmin."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with the link for users who may open it."""
        response = super().render_change_form(request, context, *args, **kwargs)
        url = _url(self.admin_site, request, context.get("original"))
        if url and isinstance(response, TemplateResponse):
            extend_template(response, "flagstaff/users/change_form.html", "flagstaff_user_page")
            response.context_data = {**(response.context_data or {}), "flagstaff_flags_url": url}
        return response


def _url(site: admin.AdminSite, request: HttpRequest, user: Any) -> str:
    field = allowed_user_table().field
    if not (
        isinstance(user, field.model)
        and may_view(site, request, FlagsOfUser)
        and may_see_users(request.user)
    ):
        return ""
    parameters = {USER: getattr(user, field.attname)}
    return f"{page_url(site, FlagsOfUser, 'changelist')}?{urlencode(parameters)}"
