"""The input of the allowed users on the page that adds a flag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import Field, Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.links import admin_of
from flagstaff.admin.part import Part
from flagstaff.changes.allowed_users import ALLOWED


class AllowedUsersInput(Part):
    """A search for users, or else their primary keys."""

    def autocomplete_fields(self, request: HttpRequest) -> Iterable[str]:
        """The allowed users, if the user of the request can search for users in this admin."""
        user_admin = self._user_admin(request)
        return (ALLOWED,) if user_admin and user_admin.get_search_fields(request) else ()

    def form_field(
        self, db_field: Field[Any, Any], field: forms.Field, request: HttpRequest
    ) -> forms.Field:
        """The field of the allowed users, without a link to users who may not be viewed."""
        if db_field.name != ALLOWED or not isinstance(field.widget, ManyToManyRawIdWidget):
            return field
        if self._user_admin(request) is None:
            # The widget links to the models of its site.
            field.widget.admin_site = AdminSite()
            field.help_text += " " + _("Primary keys of users, separated by commas.")
        return field

    def _user_admin(self, request: HttpRequest) -> ModelAdmin[Model] | None:
        """The admin of users, if the user of the request may open it."""
        user_model = self.admin.model._meta.get_field(ALLOWED).related_model
        user_admin = admin_of(self.admin.admin_site, cast("type[Model]", user_model))
        return user_admin if user_admin and user_admin.has_view_permission(request) else None
