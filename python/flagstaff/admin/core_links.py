"""The links above the list of flags to flagstaff's own pages."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.text import capfirst

from flagstaff.admin.links import may_view, page_url
from flagstaff.models import ConnectedWorker, RecentChange, UnknownKey

_PAGES = (RecentChange, UnknownKey, ConnectedWorker)


def core_links(site: AdminSite, request: HttpRequest) -> Sequence[tuple[str, str]]:
    """Returns the URL and the text of each page that the user may open. Does not query."""
    return [
        (page_url(site, model, "changelist"), str(capfirst(model._meta.verbose_name_plural)))
        for model in _PAGES
        if may_view(site, request, model)
    ]
