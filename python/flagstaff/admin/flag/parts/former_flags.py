"""What is known about the key of a new flag: evaluations, and the flag that had it before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import recent_usage
from flagstaff._words.text import local_number
from flagstaff._words.times import local_days
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import history_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.rights import hidden_rows
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, former_rows


def former_texts(site: AdminSite, request: HttpRequest, keys: Collection[str]) -> Mapping[str, str]:
    """Returns a sentence for each key that a flag had before, with a link to its history.

    Makes one query. The history has the way back of a flag that was deleted.
    """
    rows: dict[str, Change] = value_or_default(
        "the earlier flags of keys cannot be read", lambda: former_rows(Kind.FLAG, keys), {}
    )
    hidden = hidden_rows(site, request, conf.flag_model) if rows else {}
    text, link = _("A flag had this key before."), '{} <a href="{}">{}</a>'
    has_link = page_link(site, request, "changes")
    return {
        key: format_html(link, text, history_url(site, Kind.FLAG, key), _("History"))
        if has_link
        else text
        for key, row in rows.items()
        if row.object_pk not in hidden
    }


def key_texts(site: AdminSite, request: HttpRequest, key: str) -> Iterator[str]:
    """Yields what is known of the key of a new flag."""
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
    yield from former_texts(site, request, [key]).values()
