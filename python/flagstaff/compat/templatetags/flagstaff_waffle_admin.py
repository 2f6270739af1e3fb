"""The banner in waffle's admin: where its flags are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.db.models import Model
from django.http import HttpRequest
from django.template.context import Context
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._tables.rows import Row, all_rows
from flagstaff._words.lists import local_list
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import kind_of_model, overridden_methods
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

register = template.Library()


@register.inclusion_tag("flagstaff/compat/banner.html", takes_context=True)
def flagstaff_banner(context: Context) -> dict[str, Any]:
    """Returns what the banner shows on a list or a form; nothing for other models.

    Makes up to two queries on the form of a row, and none elsewhere.
    """
    source = context.get("cl") or context["adminform"]
    model_admin: ModelAdmin[Any] = source.model_admin
    model: type[Model] = model_admin.model
    kind = kind_of_model(model)
    if kind is None:
        return {}
    row = context.get("original")
    flag = Kind.FLAG.find(key_of(kind, row.name)) if row is not None else None
    is_ours = not overridden_methods(model)
    text = _row_text(row.name, flag, is_ours) if row is not None else _list_text(is_ours)
    problem = all_rows(WaffleRow).filter(kind=kind, name=row.name).first() if row else None
    return {
        "text": text,
        # A change that has no effect.
        "is_warning": is_ours and bool(waffle_settings().serve) and not waffle_settings().mirror,
        "problem": problem.problem if problem else "",
        **_link(model_admin, context["request"], flag),
    }


def _row_text(name: str, flag: Row | None, is_ours: bool) -> str:  # noqa: FBT001
    if not is_ours:
        return _by_waffle_only()
    if not waffle_settings().serves(name):
        return _by_waffle()
    if flag is None:
        return _("Served by waffle, because flagstaff has no such flag.")
    return _("Served from flagstaff.") + _without_mirror()


def _list_text(is_ours: bool) -> str:  # noqa: FBT001
    serve = waffle_settings().serve
    if not is_ours:
        return _by_waffle_only()
    if not serve:
        return _by_waffle()
    text = _("Served from flagstaff.")
    if isinstance(serve, tuple):
        text = _("Served from flagstaff: %(names)s. All others are served by waffle.") % {
            "names": local_list(serve)
        }
    return text + _without_mirror()


def _without_mirror() -> str:
    """Returns what changes in this admin do if the mirror is off; else nothing."""
    if waffle_settings().mirror:
        return ""
    return " " + _("Changes made here have no effect on what flagstaff serves.")


def _by_waffle() -> str:
    if waffle_settings().shadow:
        return _("Served by waffle; compared with flagstaff.")
    return _("Served by waffle.")


def _by_waffle_only() -> str:
    return _("Served by waffle, because this model has its own evaluation.")


def _link(model_admin: ModelAdmin[Any], request: HttpRequest, flag: Row | None) -> dict[str, str]:
    """Returns the page of the flag, or else of all flags, if the user may view it."""
    # Django imports the libraries of all apps, also in projects without an admin.
    from flagstaff.admin.links import may_view, page_url  # noqa: PLC0415

    site, model = model_admin.admin_site, conf.flag_model
    if not may_view(site, request, model):
        return {}
    if flag is not None:
        return {"url": page_url(site, model, "change", flag.pk), "link": flag.key}
    title = str(capfirst(model._meta.verbose_name_plural))
    return {"url": page_url(site, model, "changelist"), "link": title}
