"""A page in place of a list of rows. The admin lists it under a model that has no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst

from flagstaff._connection.atomic_requests import outside_transactions
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.permissions import FlagPermissionsMixin
from flagstaff.admin.views import AttributedViews
from flagstaff.conf import conf

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class PlainPageAdmin(AttributedViews, FlagPermissionsMixin, _ModelAdmin):
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

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page."""
        return self.attributed_view(request, self._answer, extra_context)

    def _answer(self, request: HttpRequest, extra_context: dict[str, Any] | None) -> HttpResponse:
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
        """Returns the page. `extra` comes after what every page has, and before its own context."""
        site, flags = self.admin_site, conf.flag_model
        context = {
            **site.each_context(request),
            **(extra or {}),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "flags_title": flags._meta.verbose_name_plural,
            "flags_url": page_url(site, flags, "changelist")
            if may_view(site, request, flags)
            else "",
            **self.page_context(request),
        }
        request.current_app = site.name
        return TemplateResponse(request, self.page_template, context)

    def get_urls(self) -> list[URLPattern]:
        """The page, and nothing else. Not in a transaction, because it may wait for workers."""
        view = self.admin_site.admin_view(self.changelist_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", outside_transactions(view), name=name)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is nothing to add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to delete."""
        return False
