"""The flags of one user: a page, and the link to it on the page of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import _core
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explanation_of
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.typed_context import parse_text
from flagstaff._tables import bucket_units
from flagstaff._tables.flag_states import ALL_USERS
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import local_number, localized
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.rights import hidden_rows, needs_view_user_text
from flagstaff.admin.typed_user import TypedUser, typed_user
from flagstaff.admin.user_values import values_of_user
from flagstaff.admin.views import extend_template
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users
from flagstaff.models import FlagsOfUser

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

# The parameters of the URL.
_USER, _CONTEXT, _ON, _PAGE = "user", "context", "on", "p"
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
        text, context = request.GET.get(_USER, "").strip(), request.GET.get(_CONTEXT, "")
        page: dict[str, object] = {"typed_user": text, "context": context}
        if {_USER, _CONTEXT}.isdisjoint(request.GET):
            return page
        typed, user = parse_text(context), typed_user(text)
        page["problems"] = {_CONTEXT: list(map(localized, typed.problems)), _USER: user.problem}
        if typed.problems or user.problem:
            return page
        return {**page, **self._flags(request, user, typed.attributes)}

    def _flags(
        self, request: HttpRequest, user: TypedUser, context: dict[str, object]
    ) -> Mapping[str, object]:
        model, pks = conf.flag_model, self._visible_flags(request)
        found = evaluated_flags(pks, user.argument, context)
        if found is None:
            return {"failure": _("The flags cannot be read from the database.")}
        on = [key for key in pks if found[key]["value"]]
        is_only_on = _ON in request.GET
        shown = Paginator(on if is_only_on else [*pks], _PAGE_SIZE).get_page(request.GET.get(_PAGE))
        has_link = admin_of(self.admin_site, model) is not None
        return {
            # For the links to the other pages.
            "request": request,
            "shown": shown,
            "sentence": _sentence(len(on), len(pks), user),
            "notes": [*user.notes()],
            "values": values_of_user(self.admin_site, request, user.argument, context),
            "is_only_on": is_only_on,
            "counts": {"all": local_number(len(pks)), "on": local_number(len(on))},
            "rows": [
                {
                    "key": key,
                    "url": page_url(self.admin_site, model, "change", pks[key]) if has_link else "",
                    "is_on": found[key]["value"],
                    "why": short_reason(key, found[key]),
                }
                for key in shown
            ],
        }

    def _visible_flags(self, request: HttpRequest) -> dict[str, Any]:
        """Returns the primary keys of the flags that the list shows to the user, by key."""
        model = conf.flag_model
        hidden = hidden_rows(self.admin_site, request, model)
        rows = all_rows(model).order_by("key").values_list("key", "pk")
        return {key: pk for key, pk in rows if str(pk) not in hidden}


def _sentence(on: int, total: int, user: TypedUser) -> str:
    text = ngettext(
        "%(on)s of %(total)s flag is on for %(user)s.",
        "%(on)s of %(total)s flags are on for %(user)s.",
        total,
    )
    numbers = {"on": local_number(on), "total": local_number(total)}
    return text % {**numbers, "user": user.words}


# The evaluation, with the reasons in a few words.


def evaluated_flags(
    keys: Iterable[str], user: Any, context: dict[str, object]
) -> dict[str, dict[str, Any]] | None:
    """Returns what the extension explains of each flag, by key. None if the flags cannot be read.

    Reads all flags in a few queries: the snapshot of this process may be older. Counts no usage.
    """
    with read_own_writes():
        snapshot = _core.snapshot()
        if not snapshot.ready:
            return None
        return {key: snapshot.explain(key, user, context=context) for key in keys}


def short_reason(key: str, found: dict[str, Any]) -> str:
    """Returns why the flag is on or off in a few words."""
    explanation = explanation_of(Explanation, key, found)
    if explanation.override is not None:
        is_forced = explanation.override == VARIABLE
        return _("forced off in this process") if is_forced else _("overridden by a test")
    if explanation.rule is not None:
        return _rule(explanation)
    if explanation.error_code == "PARSE_ERROR":
        return _("its rules cannot be read, so calls return their default")
    texts = {
        "DISABLED": _("disabled"),
        "TARGETING_MATCH": _("allowed user"),
        "STATIC": _rollout(explanation, ALL_USERS),
    }
    if (text := texts.get(explanation.reason)) is not None:
        return text
    if explanation.rollout_percent is None:
        return _("its row cannot be read, so calls return their default")
    return _rollout(explanation, explanation.rollout_percent)


def _rule(explanation: Explanation) -> str:
    names = {"number": explanation.rule, "name": explanation.rule_name}
    text = _("rule %(number)s “%(name)s”") if explanation.rule_name else _("rule %(number)s")
    percent = explanation.deciding_step.values["percent"]
    if percent >= ALL_USERS:
        return text % names
    return f"{text % names}, {_rollout(explanation, percent)}"


def _rollout(explanation: Explanation, percent: int) -> str:
    """Returns the rollout that decided, with the bucket if it depends on one."""
    unit, bucket = explanation.bucket_by or bucket_units.USER, explanation.bucket
    texts = {"percent": percent, "bucket": bucket, "unit": unit}
    if not 0 < percent < ALL_USERS:
        return _("rollout of %(percent)s %%") % texts
    if unit == bucket_units.USER:
        if bucket is None:
            return _("rollout of %(percent)s %%, but there is no user") % texts
        return _("rollout of %(percent)s %%, bucket %(bucket)s") % texts
    if bucket is None:
        return _("rollout of %(percent)s %%, but %(unit)s is missing") % texts
    return _("rollout of %(percent)s %%, bucket %(bucket)s by %(unit)s") % texts


# The link from the page of a user in the project's own admin.


class UserFlagsMixin(_ModelAdmin):
    """Adds a link to the flags of a user to the page of the user. Put it before UserAdmin."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page, with the link for users who may open it."""
        response = super().render_change_form(request, context, *args, **kwargs)
        url = _link(self.admin_site, request, context.get("original"))
        if url and isinstance(response, TemplateResponse):
            extend_template(response, "flagstaff/users/change_form.html", "flagstaff_user_page")
            response.context_data = {**(response.context_data or {}), "flagstaff_flags_url": url}
        return response


def _link(site: admin.AdminSite, request: HttpRequest, user: Any) -> str:
    field = allowed_user_table().field
    if not (
        isinstance(user, field.model)
        and may_view(site, request, FlagsOfUser)
        and may_see_users(request.user)
    ):
        return ""
    parameters = {_USER: getattr(user, field.attname)}
    return f"{page_url(site, FlagsOfUser, 'changelist')}?{urlencode(parameters)}"
