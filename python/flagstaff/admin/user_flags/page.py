"""The page of the flags of a user: type a user and a context, and see all flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.typed_context import parse_text
from flagstaff._tables.rows import all_rows
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.admin.user_flags.evaluated import evaluated_flags, short_reason
from flagstaff.admin.users.permission import needs_view_user_text
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users

#: The parameter of the URL that names the user.
USER = "user"
_CONTEXT, _ON, _PAGE = "context", "on", "p"
_PAGE_SIZE = 200


class FlagsOfUserAdmin(PlainPageAdmin):
    """Users who may view flags and users see which flags a user has."""

    page_template = "flagstaff/users/flags.html"

    class Media:
        css = {"all": ("flagstaff/charts.css",)}

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The flags of the user in the URL. The number of queries does not depend on theirs."""
        if not may_see_users(request.user):
            return {"needs_permission": needs_view_user_text()}
        text, context = request.GET.get(USER, "").strip(), request.GET.get(_CONTEXT, "")
        page: dict[str, object] = {"typed_user": text, "context": context}
        if {USER, _CONTEXT}.isdisjoint(request.GET):
            return page
        typed, user = parse_text(context), typed_user(text)
        page["problems"] = {_CONTEXT: list(map(localized, typed.problems)), USER: user.problem}
        if typed.problems or user.problem:
            return page
        return {**page, **self._flags(request, user, typed.attributes)}

    def _flags(
        self, request: HttpRequest, user: TypedUser, context: dict[str, object]
    ) -> Mapping[str, object]:
        pks = self._visible_flags(request)
        found = evaluated_flags(pks, user.argument, context)
        if found is None:
            return {"failure": _("The flags cannot be read from the database.")}
        on = [key for key in pks if found[key]["value"]]
        is_only_on = _ON in request.GET
        shown = Paginator(on if is_only_on else [*pks], _PAGE_SIZE).get_page(request.GET.get(_PAGE))
        has_link = admin_of(self.admin_site, conf.flag_model) is not None
        return {
            "sentence": _sentence(len(on), len(pks), user),
            "notes": [*user.notes()],
            "filters": [
                (_("All flags"), local_number(len(pks)), _url(request), not is_only_on),
                (_("Only on"), local_number(len(on)), _url(request, on=True), is_only_on),
            ],
            "rows": [
                {
                    "key": key,
                    "url": self._flag_url(pks[key]) if has_link else "",
                    "is_on": found[key]["value"],
                    "why": short_reason(key, found[key]),
                }
                for key in shown
            ],
            "newer": _url(request, on=is_only_on, page=shown.number - 1)
            if shown.has_previous()
            else "",
            "older": _url(request, on=is_only_on, page=shown.number + 1)
            if shown.has_next()
            else "",
        }

    def _visible_flags(self, request: HttpRequest) -> dict[str, Any]:
        """Returns the primary keys of the flags that the list shows to the user, by key."""
        model = conf.flag_model
        flag_admin = admin_of(self.admin_site, model)
        rows = all_rows(model) if flag_admin is None else flag_admin.get_queryset(request)
        return dict(rows.exclude(key=None).order_by("key").values_list("key", "pk"))

    def _flag_url(self, pk: Any) -> str:
        return page_url(self.admin_site, conf.flag_model, "change", pk)


def _sentence(on: int, total: int, user: TypedUser) -> str:
    text = ngettext(
        "%(on)s of %(total)s flag is on for %(user)s.",
        "%(on)s of %(total)s flags are on for %(user)s.",
        total,
    )
    numbers = {"on": local_number(on), "total": local_number(total)}
    return text % {**numbers, "user": user.words}


def _url(request: HttpRequest, *, on: bool = False, page: int = 1) -> str:
    parameters = {name: request.GET[name] for name in (USER, _CONTEXT) if name in request.GET}
    if on:
        parameters[_ON] = "1"
    if page > 1:
        parameters[_PAGE] = str(page)
    return f"?{urlencode(parameters)}"
