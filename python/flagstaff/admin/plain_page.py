"""A page in place of a list of rows. The admin lists it under a model that has no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path

from flagstaff._connection.atomic_requests import outside_transactions
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.rights import may
from flagstaff.admin.views import keys_media
from flagstaff.conf import conf
from flagstaff.models import Overview


class PlainPageAdmin(BaseAdmin):
    """A page for users who may view flags. It has no rows to add, change or delete."""

    #: The template, which extends flagstaff/plain_page.html.
    page_template: ClassVar[str]

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/pages.css")}

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """Returns what the template shows. Each page has its own."""
        raise NotImplementedError

    def other_page(self, request: HttpRequest) -> HttpResponseBase | None:
        """Returns what a GET gets in place of the page, such as a file; None for the page."""
        return None

    def post_page(self, request: HttpRequest) -> HttpResponse:
        """Handles a POST. Raises PermissionDenied unless the page has its own."""
        raise PermissionDenied

    def show_list(self, request: HttpRequest, extra_context: dict[str, Any] | None) -> HttpResponse:
        """Returns the page, or what a POST or the URL asks for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.post_page(request)
        if (other := self.other_page(request)) is not None:
            return cast("HttpResponse", other)
        return self.show_page(request, extra_context)

    def show_page(
        self, request: HttpRequest, extra: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """Returns the page. `extra` comes before its own context."""
        context = {**(extra or {}), **self.page_context(request)}
        return self.plain_page(request, self.page_template, context)

    def plain_page(
        self, request: HttpRequest, template: str, context: Mapping[str, Any]
    ) -> HttpResponse:
        """Returns a page with what every page has, and then its own context."""
        site, flags = self.admin_site, conf.flag_model
        page = {
            "keys": keys_media(),
            "flags_title": flags._meta.verbose_name_plural,
            "flags_url": page_url(site, flags, "changelist")
            if may_view(site, request, flags)
            else "",
            "flagstaff_search_url": page_url(site, Overview, "search")
            if may_view(site, request, Overview)
            else "",
            **context,
        }
        return self.template_page(request, template, page)

    def get_urls(self) -> list[URLPattern]:
        """The page, and nothing else. Not in a transaction, because it may wait for workers."""
        view = self.admin_site.admin_view(self.changelist_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", outside_transactions(view), name=name)]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the page."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see the page."""
        return may(self.admin_site, request, "view", conf.flag_model)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to add, change or delete."""
        return False

    has_add_permission = has_delete_permission = has_change_permission
