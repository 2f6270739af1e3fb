"""The pages that are about no single row: sentences, filters and tables, in one template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from flagstaff._connection import outside_transactions
from flagstaff._tables.rows import all_rows
from flagstaff._text import is_whole_number, say
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.links import list_path, page_link, page_title
from flagstaff.admin.rights import hidden_rows
from flagstaff.admin.words import Table
from flagstaff.conf import conf

#: The parameter with the number of the page, from 1 on.
PAGE = "p"
_MAX_DIGITS = 5


@dataclass(frozen=True)
class Filter:
    """A link that changes which rows the page shows, with their number."""

    label: str
    url: str
    count: str
    is_current: bool


@dataclass(frozen=True)
class Content:
    """What a page says, from top to bottom."""

    form: forms.Form | None = None
    sentence: str = ""
    #: What is wrong, or what a person should know or do.
    notes: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    tables: Sequence[Table] = ()
    #: The URLs and texts of links below the tables, such as to the next page.
    links: Sequence[tuple[str, str]] = ()
    #: How to read the page.
    remarks: Sequence[str] = ()


class Page:
    """A page below the list of flags."""

    #: The name in the URL, by which `links.PAGES` has the title and who may open it.
    name: ClassVar[str]
    #: The page of the documentation, below DOCS_URL.
    docs_page: ClassVar[str] = "how-to/admin/"
    template: ClassVar[str] = "flagstaff/table_page.html"

    def __init__(self, admin: BaseAdmin, request: HttpRequest) -> None:
        """Takes the admin of flags, and a request of a user who may open the page."""
        self.admin, self.site, self.request = admin, admin.admin_site, request

    @classmethod
    def url_pattern(cls, admin: BaseAdmin) -> URLPattern:
        """Returns the URL of the page, below that of the list of flags."""
        # A page may wait for the workers, which do not see what a transaction has not committed.
        return list_path(admin, cls.name, outside_transactions(partial(cls._answer, admin)))

    @classmethod
    def _answer(cls, admin: BaseAdmin, request: HttpRequest) -> HttpResponse:
        if not page_link(admin.admin_site, request, cls.name):
            raise PermissionDenied
        page = cls(admin, request)
        return page.post() if request.method == "POST" else page.get()

    def get(self) -> HttpResponse:
        """Returns the page."""
        return self.show({"page": self.content()})

    def post(self) -> HttpResponse:
        """Does what a form of the page is for. Most pages have none."""
        raise PermissionDenied

    def content(self) -> Content:
        """Returns what the page says."""
        raise NotImplementedError

    def show(self, context: Mapping[str, object]) -> HttpResponse:
        """Returns the page of a template, with what each page has."""
        page = {
            "title": page_title(self.name),
            "docs_page": self.docs_page,
            "search_url": page_link(self.site, self.request, "search"),
            **context,
        }
        return self.admin.template_page(self.request, self.template, page)

    def shown_flags(self) -> dict[str, Any]:
        """Returns the primary keys of the flags that the list shows to the user, by key."""
        model = conf.flag_model
        hidden = hidden_rows(self.site, self.request, model)
        rows = all_rows(model).order_by("key").values_list("key", "pk")
        return {key: pk for key, pk in rows if str(pk) not in hidden}


def page_number(request: HttpRequest) -> int:
    """Returns the number of the page in the URL, from 1 on."""
    text = request.GET.get(PAGE, "")
    # Longer numbers are pages that do not exist.
    return max(int(text), 1) if is_whole_number(text, _MAX_DIGITS) else 1


def page_links(request: HttpRequest, number: int, *, has_next: bool) -> list[tuple[str, str]]:
    """Returns the links to the previous and the next page, where there is one."""
    links = [(say("Previous page").local, number - 1)] if number > 1 else []
    links += [(say("Next page").local, number + 1)] if has_next else []
    return [(with_query(request, {PAGE: str(to)}), label) for label, to in links]


def with_query(request: HttpRequest, parameters: Mapping[str, str | None]) -> str:
    """Returns the URL of the page with other parameters. None removes one."""
    query = request.GET.copy()
    for name, value in parameters.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return f"?{query.urlencode()}"
