"""Sentences about flags that had a key before, with a link to their history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.local_formats import local_time_text
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import admin_of, may_view
from flagstaff.admin.permissions import may
from flagstaff.admin.recent_changes.urls import key_url, undo_url
from flagstaff.conf import conf
from flagstaff.history.former_rows import FormerRow, former_rows
from flagstaff.history.kinds import Kind
from flagstaff.models import RecentChange

_NO_ROWS: dict[str, FormerRow] = {}
_NO_NAMES: dict[str, str] = {}


@dataclass(frozen=True)
class FormerText:
    """A sentence about the flag that had a key."""

    text: str
    #: The history of the key; empty if the user may not open it.
    url: str
    #: The page that brings the deleted flag back; empty if it exists, or if the user may not.
    back_url: str

    @property
    def html(self) -> str:
        """The sentence and its links."""
        links = ((self.url, _("History")), (self.back_url, _("Bring back…")))
        html_links = format_html_join(
            " · ", '<a href="{}">{}</a>', (link for link in links if link[0])
        )
        return format_html("{} {}", self.text, html_links) if html_links else self.text


def former_texts(
    site: AdminSite, request: HttpRequest, keys: Collection[str]
) -> dict[str, FormerText]:
    """Returns a sentence for each key that a flag had before. Makes up to five queries."""
    rows = value_or_default(
        "the earlier flags of keys cannot be read", lambda: former_rows(Kind.FLAG, keys), _NO_ROWS
    )
    if not rows:
        return {}
    actors = {row.actor for row in rows.values() if row.actor}
    names = value_or_default(
        "the names of actors cannot be read", lambda: actor_table().names(actors), _NO_NAMES
    )
    renamed = [row.object_pk for row in rows.values() if not row.was_deleted]
    present = _present_keys(renamed) if renamed else {}
    may_see = may_view(site, request, RecentChange) and may(site, request, "view")
    flag_admin = admin_of(site, conf.flag_model)
    may_add = flag_admin is not None and flag_admin.has_add_permission(request)
    return {
        key: FormerText(
            _text(row, names, present.get(row.object_pk, "")),
            key_url(site, Kind.FLAG, key) if may_see else "",
            undo_url(site, [row.version]) if may_see and may_add and row.was_deleted else "",
        )
        for key, row in rows.items()
    }


def _text(row: FormerRow, names: dict[str, str], present: str) -> str:
    if present:
        text = _("The flag “%(flag)s” had this key before.")
        return text % {"flag": present}
    if not row.was_deleted:
        return _("A flag had this key before.")
    actor = row.actor and names.get(row.actor, row.actor)
    by = actor or _("%(user)s (database user)") % {"user": row.session_user}
    text = _("A flag with this key was deleted on %(time)s by %(actor)s.")
    return text % {"time": local_time_text(row.at), "actor": by}


def _present_keys(pks: Collection[str]) -> dict[str, str]:
    rows = all_rows(conf.flag_model).filter(pk__in=pks).values_list("pk", "key")
    return {str(pk): key for pk, key in rows}
