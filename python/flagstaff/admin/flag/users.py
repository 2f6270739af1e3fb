"""The allowed users of a flag, of whom it can have 100,000: a page with search."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import unquote
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.safestring import SafeString

from flagstaff._core import is_storable
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import say
from flagstaff.actions.arguments import name_of_users, named_users
from flagstaff.admin.links import BACK, page_url, row_id, row_links, row_path
from flagstaff.admin.looks import allowed_count, count_of_users
from flagstaff.admin.rights import denied, may_view, needs_view_user_text
from flagstaff.admin.words import link
from flagstaff.changes.fields import links_of
from flagstaff.history.describe import may_see_users

PAGE_SIZE = 100


def allowed_users_link(admin: Any, request: HttpRequest, flag: Any) -> SafeString | str:
    """Returns a link to the page of the allowed users, for who may see users."""
    text = say("Allowed users").local
    if not may_see_users(request.user):
        return text
    return link(page_url(admin.admin_site, admin.model, "allowed_users", row_id(flag)), text)


def users_path(admin: Any) -> URLPattern:
    """Returns the URL pattern of the page."""
    return row_path(admin, "allowed_users", partial(_answer, admin))


def _answer(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    flag = admin.get_object(request, unquote(object_id))
    if not admin.has_view_permission(request, flag):
        raise denied(request, "view", flag or admin.model)
    if flag is None:
        missing: HttpResponse = admin.missing(request, object_id)
        return missing
    site, model = admin.admin_site, admin.model
    if selected := request.GET.getlist("remove"):
        # The page of the action asks, and writes.
        parameters = request.GET.copy()
        parameters.pop("remove")
        back = f"{request.path}?{parameters.urlencode()}"
        # A primary key would be read as a number of users.
        users = named_users(selected) if may_see_users(request.user) else "\n".join(selected)
        query = urlencode({"users": users, BACK: back})
        url = page_url(site, model, "disallow", row_id(flag))
        return HttpResponseRedirect(f"{url}?{query}")
    may_see = may_see_users(request.user)
    context = {
        "title": say("Allowed users of {key}", key=flag.key).local,
        "subtitle": None,
        "original": flag.key,
        "crumbs": row_links(site, flag, flag.key),
        "total": count_of_users(allowed_count(flag)),
        "add": admin.link_to(request, "allow", flag),
        "back": urlencode({BACK: request.get_full_path()}),
        "name_of_users": name_of_users(),
        "needs_permission": "" if may_see else needs_view_user_text(),
        **(_listed(admin, request, flag) if may_see else {}),
    }
    page: HttpResponse = admin.template_page(request, "flagstaff/allowed_users.html", context)
    return page


def _listed(admin: Any, request: HttpRequest, flag: Any) -> Mapping[str, object]:
    """The users of a page, in the order of their primary keys."""
    search, (links, to_user) = request.GET.get("q", "").strip(), links_of(flag)
    matching = _matching(links, to_user.name, to_user.attname, search) if search else links
    ordered = matching.order_by(to_user.attname).values_list(to_user.attname, flat=True)
    # A number without a page stands for the first or the last one.
    page = Paginator(ordered, PAGE_SIZE).get_page(request.GET.get("page", ""))
    pks, table, site = [str(pk) for pk in page], allowed_user_table(), admin.admin_site
    names, user = table.names(pks), table.field
    has_page = user.primary_key and may_view(site, request, user.model)
    return {
        "search": search,
        "shown": page,
        "range": say(
            "Users {first} to {last} of {found}",
            first=page.start_index(),
            last=page.end_index(),
            found=page.paginator.count,
        ).local,
        "users": [
            (pk, names.get(pk, ""), page_url(site, user.model, "change", pk) if has_page else "")
            for pk in pks
        ],
    }


def _matching(links: QuerySet[Model], user: str, column: str, search: str) -> QuerySet[Model]:
    """The links to users whose username contains the text, or whose primary key it is."""
    table = allowed_user_table()
    username, pk = table.username_field, table.parse(search)
    matches = [] if pk is None else [Q(**{column: pk})]
    if username is not None and is_storable(search):
        matches.append(Q(**{f"{user}__{username.name}__icontains": search}))
    return links.filter(Q(*matches, _connector=Q.OR)) if matches else links.none()
