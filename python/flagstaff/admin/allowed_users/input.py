"""The input of the allowed users on the page that adds a flag."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import ManyToManyField, Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.links import admin_of
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.changes.allowed_users import ALLOWED


class AllowedUsersInputMixin(ModelAdminMixin):
    """Put it before ModelAdmin."""

    # Used if this admin cannot search for users; see get_autocomplete_fields.
    raw_id_fields = (ALLOWED,)

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The allowed users, if the user of the request can search for users in this admin."""
        user_admin = self._user_admin(request)
        return (ALLOWED,) if user_admin and user_admin.get_search_fields(request) else ()

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField[Any] | None:
        """The form field of the allowed users, without a link to users who may not be viewed."""
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is None or db_field.name != ALLOWED:
            return field
        if isinstance(field.widget, ManyToManyRawIdWidget) and self._user_admin(request) is None:
            # The widget links to the models of its site.
            field.widget.admin_site = AdminSite()
            field.help_text += " " + _("Primary keys of users, separated by commas.")
        return field

    def _user_admin(self, request: HttpRequest) -> ModelAdmin[Model] | None:
        """The admin of users, if the user of the request may open it."""
        user_model = self.model._meta.get_field(ALLOWED).related_model
        user_admin = admin_of(self.admin_site, cast("type[Model]", user_model))
        return user_admin if user_admin and user_admin.has_view_permission(request) else None
