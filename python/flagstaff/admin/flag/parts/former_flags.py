"""What is known about a key that no flag has: evaluations, and the flag that had it before."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import recent_usage
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import local_number
from flagstaff._words.times import local_days, local_time_text
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import admin_of
from flagstaff.admin.menu import page_link
from flagstaff.admin.recent_changes.urls import key_url, undo_url
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, former_rows


def former_texts(
    site: AdminSite, request: HttpRequest, keys: Collection[str], *, with_way_back: bool = True
) -> dict[str, str]:
    """Returns a sentence with links for each key that a flag had before.

    The links are those that the user may open: to the history of the key and, with
    `with_way_back`, to the page that brings the flag back. Makes up to five queries.
    """
    rows: dict[str, Change] = value_or_default(
        "the earlier flags of keys cannot be read", lambda: former_rows(Kind.FLAG, keys), {}
    )
    hidden = hidden_rows(site, request, conf.flag_model) if rows else {}
    rows = {key: row for key, row in rows.items() if row.object_pk not in hidden}
    if not rows:
        return {}
    actors = {row.actor for row in rows.values() if row.actor}
    names: dict[str, str] = value_or_default(
        "the names of actors cannot be read", lambda: actor_table().names(actors), {}
    )
    renamed = [row.object_pk for row in rows.values() if not row.is_deletion]
    flags = all_rows(conf.flag_model).filter(pk__in=renamed).values_list("pk", "key")
    present = {str(pk): key for pk, key in flags} if renamed else {}
    may_see = page_link(site, request, "changes") and may(site, request, "view", conf.flag_model)
    flag_admin = admin_of(site, conf.flag_model)
    may_add = may_see and flag_admin is not None and flag_admin.has_add_permission(request)
    texts = {}
    for key, row in rows.items():
        links = [(key_url(site, Kind.FLAG, key), _("History"))] if may_see else []
        if with_way_back and may_add and row.is_deletion:
            links.append((undo_url(site, [row.pk]), _("Bring back…")))
        text = _text(row, names, present.get(row.object_pk, ""))
        html = format_html_join(" · ", '<a href="{}">{}</a>', links)
        texts[key] = format_html("{} {}", text, html) if html else text
    return texts


def _text(row: Change, names: dict[str, str], present: str) -> str:
    if present:
        text = _("The flag “%(flag)s” had this key before.")
        return text % {"flag": present}
    if not row.is_deletion:
        return _("A flag had this key before.")
    actor = row.actor and names.get(row.actor, row.actor)
    by = actor or _("%(user)s (database user)") % {"user": row.session_user}
    text = _("A flag with this key was deleted on %(time)s by %(actor)s.")
    return text % {"time": local_time_text(row.at), "actor": by}


def key_texts(site: AdminSite, request: HttpRequest, key: str) -> Iterator[str]:
    """Yields what is known of the key of a new flag: evaluations, and the flag that had it."""
    usage = recent_usage([key])
    if usage is not None and (found := usage.keys.get(key)) and found.count:
        text = ngettext(
            "In the last %(days)s, the key was evaluated %(count)s time. Without a flag, a "
            "call returns its default; while the new flag is off, it returns False.",
            "In the last %(days)s, the key was evaluated %(count)s times. Without a flag, a "
            "call returns its default; while the new flag is off, it returns False.",
            found.count,
        )
        yield text % {"days": local_days(usage.days), "count": local_number(found.count)}
    yield from former_texts(site, request, [key], with_way_back=False).values()
