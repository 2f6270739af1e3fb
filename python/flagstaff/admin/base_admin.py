"""The base of all admins and pages: who changes something and why, and reports of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR, IncorrectLookupParameters
from django.contrib.admin.templatetags.admin_list import admin_list_filter
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, DataError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.views.decorators.cache import never_cache

from flagstaff._attribution import actor_of, attributed, attribution
from flagstaff._connection import outside_transactions
from flagstaff._tables.database import NO_PRIVILEGE, db, is_missing_table, savepoint, sqlstate
from flagstaff._tables.rows import Kind, all_rows, hiding, uncached
from flagstaff._text import is_whole_number, localized, say
from flagstaff._text.rules import naming
from flagstaff._workers.status import propagation_messages
from flagstaff._workers.wait import wait_for_workers
from flagstaff.actions import Action
from flagstaff.actions.table import user_may
from flagstaff.admin.links import list_path, menu_links, page_link, page_title, with_pages
from flagstaff.admin.rights import (
    READ_ONLY,
    hidden_rows,
    keys_not_shown,
    may,
    object_reader,
    refused_rows,
    visible_refusal,
    why_denied,
)
from flagstaff.admin.words import Table
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, PropagationError

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

_Context = dict[str, Any]

# Seconds for which a save, and an action that nothing may delay, waits for the workers. Most need a
# few milliseconds.
_SAVE_TIMEOUT, _LONG_TIMEOUT = 1.0, 5.0
#: The name of the form field with the reason. A model may have a column "reason".
REASON = "_reason"
_MAX_REASON_LENGTH = 500
#: The characters of a search: each word of it is a condition on each field.
MAX_SEARCH = 200
#: The parameter with the number of the page, from 1 on.
PAGE = "p"
_MAX_DIGITS = 5


def search_problem(text: str) -> str:
    """Returns why nothing is searched for: the text is too long. "" if it is not."""
    if len(text) <= MAX_SEARCH:
        return ""
    return say(
        "The search has {count} characters; use at most {most}.", count=len(text), most=MAX_SEARCH
    ).local


class BaseAdmin(_ModelAdmin):
    """Runs the views of Django's admin, and attributes their writes.

    Needs no middleware, and includes the views that a subclass overrides.
    """

    #: What the rows are, if they have a history.
    row_kind: ClassVar[Kind]
    #: The page of the documentation about the pages of this admin, below DOCS_URL.
    docs_page: ClassVar[str] = "how-to/admin/"

    class Media:
        css: ClassVar = {"all": ("flagstaff/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of the flags' database, whatever a router or a query cache reads from.

        Leaves out those that the class of a project refuses to show.
        """
        rows: QuerySet[Any] = uncached(super().get_queryset(request).using(db.alias))
        if Kind.of_model(self.model):
            # Evaluations also use rows that a project's manager hides.
            order = rows.query.order_by or self.opts.ordering or ()
            rows = all_rows(self.model).order_by(*order)
        refused = refused_rows(self, request)
        return rows.exclude(pk__in=refused) if refused else rows

    # Permissions. A project may restrict them to single rows.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see rows."""
        return user_may(request.user, "view", self.model if obj is None else obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether the user may create rows."""
        return user_may(request.user, "add", self.model)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change rows."""
        return user_may(request.user, "change", self.model if obj is None else obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete rows."""
        return user_may(request.user, "delete", self.model if obj is None else obj)

    def may_do(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the user may do an action to a row, or to the rows of a model.

        Not if it writes a field that a project has made read-only.
        """
        readonly = {*self.get_readonly_fields(request, None if isinstance(row, type) else row)}
        arguments = action.arguments() if readonly else {}
        is_fixed = any(arguments[name][1] for name in arguments.keys() & readonly)
        return not is_fixed and may(self.admin_site, request, action.right, row)

    def needed_to_view(self, row: Any) -> Any:
        """Returns the row or the model with the right to view that a row, or the model, needs."""
        return row

    def heading(self, row: Any) -> str:
        """Returns what pages call a row."""
        return str(row.key)

    # The views.

    def own_urls(self) -> Iterable[URLPattern]:
        """Returns the URLs of pages beside those of Django."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        """The URLs of all pages."""
        urls: list[URLPattern] = [*self.own_urls(), *super().get_urls()]
        for pattern in urls:
            pattern.callback = self._attributed_view(pattern.callback)
        return urls

    def changelist_view(
        self, request: HttpRequest, extra_context: _Context | None = None
    ) -> HttpResponse:
        """The list, or the page of an action."""
        context = {**(extra_context or {})}
        # Django's title asks to select a row, which is what a list in a popup is for.
        if IS_POPUP_VAR not in request.GET:
            context.setdefault("title", str(capfirst(self.opts.verbose_name_plural)))
        response = super().changelist_view(request, context)
        shown = response.context_data if isinstance(response, TemplateResponse) else None
        # An action may have a page of its own.
        if shown is not None and "cl" in shown and self.change_list_template is None:
            page = cast("TemplateResponse", response)
            shown.update(
                # The template of this page extends that of Django or of a theme.
                flagstaff_parent=page.resolve_template(page.template_name),
                flagstaff_menus=[*_menus(shown["cl"])],
                **self.list_context(request, shown["cl"]),
            )
            page.template_name = "flagstaff/list.html"
        return response

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The rows of the list."""
        try:
            with savepoint():
                return super().get_changelist_instance(request)
        except DataError as error:
            # A lookup of the URL whose value only the server refuses, such as a time zone.
            raise IncorrectLookupParameters from error

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that have the text; none and a message if it is too long."""
        if problem := search_problem(search_term):
            self.message_user(request, problem, messages.ERROR)
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> _Context:
        """Returns what the template of the list shows besides the rows."""
        return {}

    def _attributed_view(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Returns a view whose writes are attributed to the request's user.

        A FlagstaffError of a POST becomes a message, followed by a redirect to the same page.
        Before a migration, and to a user without a permission, the page says so.
        """

        @never_cache
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                with savepoint():
                    response = self._attributed(request, partial(view, request, *args, **kwargs))
            except DatabaseError as error:
                if not is_missing_table(error) and sqlstate(error) != NO_PRIVILEGE:
                    raise
                response = self._page_before_migration(request)
            except PermissionDenied as error:
                text = str(error) or why_denied(request, "view", self.needed_to_view(self.model))
                response = self._problem_page(request, text)
                response.status_code = HTTPStatus.FORBIDDEN
            return self._with_shared_context(request, response)

        return answer

    def _attributed(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        _remove_nul(request)
        made_by = attribution(actor_of(request), source="admin", reason=posted_reason(request))
        hidden = partial(keys_not_shown, self.admin_site, request)
        names = object_reader(self.admin_site, request).names
        with attributed(lambda: made_by), hiding(hidden), naming(names):
            try:
                return view()
            except FlagstaffError as error:
                # A failed GET would redirect to itself without end.
                if request.method != "POST":
                    raise
                # Django capitalises the first letter of a message: a key must not come first.
                why = visible_refusal(self.admin_site, request, error)
                text = say("Not saved: {why}", why=why).local
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    # Pages of flagstaff.

    def template_page(
        self, request: HttpRequest, template: str, context: Mapping[str, object]
    ) -> TemplateResponse:
        """Returns a page with what the templates of the admin need, and then its own context."""
        page = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, page)

    def _page_before_migration(self, request: HttpRequest) -> HttpResponse:
        problem = say("This page cannot be shown: the database lacks a table or a column.").local
        advice = say(
            "Run “manage.py migrate”, and check that the database user may use the tables of "
            "flagstaff."
        ).local
        return self._problem_page(request, f"{problem} {advice}")

    def _problem_page(self, request: HttpRequest, text: str) -> HttpResponse:
        return self.template_page(request, "flagstaff/problem.html", {"problem": text})

    def _with_shared_context(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Adds the environment, and the links to the documentation and to the other pages."""
        if not isinstance(response, TemplateResponse):
            return response
        context = response.context_data = {
            **(response.context_data or {}),
            "flagstaff_environment": conf.environment,
            "flagstaff_read_only": READ_ONLY.local if conf.read_only else "",
        }
        if menu := context.get("available_apps"):
            context["available_apps"] = with_pages(self.admin_site, request, menu)
            # For lists: a phone has no menu.
            context["flagstaff_pages"] = menu_links(self.admin_site, request).values()
        docs_page = context.get("docs_page", self.docs_page)
        context["flagstaff_docs"] = conf.docs_url and f"{conf.docs_url.rstrip('/')}/{docs_page}"
        return response

    # The message after a change.

    def report_applied(
        self,
        request: HttpRequest,
        text: str,
        *,
        asks_all: bool,
        undo: tuple[str, str] = ("", ""),
        links: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Shows a message about what is committed, and which workers have applied it. Waits.

        With `asks_all`, as after a kill, also for the workers behind replication, and longer.
        `undo` are the URL and the text of a link, which is left out without a URL. `links` are
        those of what a person may do next.
        """
        timeout = _LONG_TIMEOUT if asks_all else _SAVE_TIMEOUT
        applied = applied_by_workers(timeout, asks_regions=asks_all)
        level = messages.SUCCESS if applied.complete else messages.WARNING
        message = format_html("{}", " ".join(filter(None, (text, applied.text))))
        if links:
            shown = format_html_join(" · ", '<a href="{}">{}</a>', links)
            message = format_html("{} {}", message, shown)
        url, label = undo
        if url:
            link = '{} <a class="button flagstaff-button flagstaff-undo" href="{}">{}</a>'
            message = format_html(link, message, url, label)
        self.message_user(request, message, level)


def posted_reason(request: HttpRequest) -> str:
    """Returns the reason, cut to what can be stored. Not all pages have a form for it."""
    return request.POST.get(REASON, "").replace("\0", "")[:_MAX_REASON_LENGTH]


def _remove_nul(request: HttpRequest) -> None:
    """Removes NUL from the parameters of the URL, which PostgreSQL cannot compare with a text."""
    query = request.GET.urlencode()
    if "%00" in query:
        request.GET = QueryDict(query.replace("%00", ""))


def _menus(changelist: ChangeList) -> Iterator[Mapping[str, object]]:
    """Yields the filters of a list, for menus in one line above it."""
    for spec in changelist.filter_specs:
        choices: list[Any] = [*spec.choices(changelist)]
        is_set = any(name in changelist.params for name in spec.expected_parameters())
        chosen = (str(choice["display"]) for choice in choices if is_set and choice.get("selected"))
        # One with a template of its own is HTML.
        is_own = spec.template != "admin/filter.html"
        yield {
            "title": str(spec.title),
            # The text of the present choice; empty if the filter is not set.
            "chosen": next(chosen, "…" if is_set else ""),
            "choices": choices,
            "html": admin_list_filter(changelist, cast("Any", spec)) if is_own else "",
        }


class Applied(NamedTuple):
    """Which workers have applied a change."""

    #: Sentences; empty if evaluations query the database.
    text: str
    #: Whether all known workers have applied it.
    complete: bool


def applied_by_workers(timeout: float, *, asks_regions: bool) -> Applied:
    """Waits until the workers have applied what is committed. Blocks for at most `timeout` seconds.

    Inside a transaction, as with ATOMIC_REQUESTS, workers cannot see the change yet: the text is
    empty.
    """
    if db.connection.in_atomic_block:
        return Applied("", complete=True)
    try:
        propagation = wait_for_workers(timeout, regions=asks_regions)
    except PropagationError as error:
        return Applied(
            say(
                "It is not known whether the workers have applied it: {problem}.", problem=error
            ).local,
            complete=False,
        )
    if propagation.direct:
        return Applied("", complete=True)
    sentences = map(localized, propagation_messages(propagation))
    return Applied(" ".join(sentences), complete=propagation.complete)


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
