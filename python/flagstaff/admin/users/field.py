"""The allowed users in the form of a flag: their number and first names, or an input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._tables.rows import Row
from flagstaff._words.text import local_list, local_number
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import request_of
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.rights import why_not_change_users
from flagstaff.admin.users.listing import first_names
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.history.user_names import may_see_users

#: The name of the display method.
PANEL = "allowed_users_panel"
_MAX_NAMES = 20

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


class AllowedUsersPanel(Part):
    """Shows the panel instead of the field on the page of a flag."""

    displays = (PANEL,)

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """The panel, also for a subclass that sets other read-only fields."""
        return (PANEL,)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The panel instead of the field. A new flag has no page of users."""
        return replaced_fields(fieldsets, {PANEL: ()} if row is None else {ALLOWED: (PANEL,)})

    @admin.display(description=gettext_lazy("allowed users"))
    def allowed_users_panel(self, flag: Any) -> SafeString:
        """The number of allowed users, the first names, and a link to their page."""
        request = request_of(flag)
        # The flag of a page has been read with the number.
        count: int | None = getattr(flag, ALLOWED_COUNT, None)
        if count is None:
            count = count_allowed_users(cast("Row", flag))
        text = ngettext("%(count)s user", "%(count)s users", count)
        names, link = "", ""
        if request is not None and may_see_users(request.user):
            if count:
                first = first_names(cast("Row", flag), _MAX_NAMES)
                names = local_list(first, _MAX_NAMES, total=count)
            may_not = why_not_change_users(self.admin.admin_site, request, flag)
            link_text = _("Show or search") if may_not else _("Add, remove or search")
            url = page_url(self.admin.admin_site, self.admin.model, "allowed_users", flag.pk)
            link = format_html('<a href="{}">{}</a>', url, link_text)
        return format_html(
            '<span class="flagstaff-allowed">{} {}<span class="flagstaff-note">{}</span></span>',
            *(text % {"count": local_number(count)}, link, names),
        )


class AllowedUsersInput(Part):
    """A search for users, or else their primary keys."""

    def autocomplete_fields(self, request: HttpRequest) -> Iterable[str]:
        """The allowed users, if the user of the request can search for users in this admin."""
        user_admin = self._user_admin(request)
        return (ALLOWED,) if user_admin and user_admin.get_search_fields(request) else ()

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
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
