"""What is known about the key of a new flag: evaluations, and the flag that had it before."""

from __future__ import annotations

from collections.abc import Iterator

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


def key_texts(site: AdminSite, request: HttpRequest, key: str) -> Iterator[str]:
    """Yields sentences, with a link to the history of the key. Makes a few queries."""
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
    problem = "the earlier flag of a key cannot be read"
    rows: dict[str, Change] = value_or_default(problem, lambda: former_rows(Kind.FLAG, [key]), {})
    row = rows.get(key)
    if row is not None and row.object_pk not in hidden_rows(site, request, conf.flag_model):
        text, url = _("A flag had this key before."), history_url(site, Kind.FLAG, key)
        has_link = page_link(site, request, "changes")
        yield format_html('{} <a href="{}">{}</a>', text, url, _("History")) if has_link else text
