"""What is known of keys before a flag is created or deleted: who uses them, and who had them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import RecentUsage, recent_usage
from flagstaff._words.text import local_list, local_number, quoted
from flagstaff._words.times import local_days
from flagstaff.actions.flags import evaluated_text
from flagstaff.admin.fallbacks import once, value_or_default
from flagstaff.admin.links import history_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.rights import hidden_rows
from flagstaff.changes.changed import command_line
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, former_rows

# The flags of which a page says when they were evaluated.
_MAX_KEYS = 20


def is_in_use(request: HttpRequest, keys: Sequence[str]) -> bool:
    """Whether one of these flags was evaluated, or in browsers, within a day. Queries."""
    usage = _usage(request, keys)
    return usage is not None and any(_used_today(usage))


def facts_of_deletion(request: HttpRequest, keys: Sequence[str]) -> Iterator[str]:
    """Yields sentences: which flags are in use, how often, and how to find them in the code."""
    usage = _usage(request, keys)
    yield from _in_use(usage) if usage else ()
    # Without usage, the text is the same for all keys.
    for key in keys[: _MAX_KEYS if usage else 1]:
        text = _("Evaluated: %(text)s.") % {"text": evaluated_text(usage, key)}
        yield f"{key}: {text}" if usage and len(keys) > 1 else text
    text = ngettext(
        "To find the key in your code, run: %(command)s",
        "To find the keys in your code, run: %(command)s",
        len(keys),
    )
    yield text % {"command": command_line("references", *keys[:_MAX_KEYS])}


def _usage(request: HttpRequest, keys: Sequence[str]) -> RecentUsage | None:
    return once(request, "usage of keys", lambda: recent_usage(keys))


def _used_today(usage: RecentUsage) -> tuple[list[str], list[str]]:
    """Returns the keys that were evaluated within a day, and those that were in browsers."""
    evaluated = [key for key, found in usage.today.items() if found.last_evaluated_at]
    return evaluated, [key for key, found in usage.today.items() if found.served_to_browsers_at]


def _in_use(usage: RecentUsage) -> list[str]:
    """Which flags are in use."""
    used, in_browsers = _used_today(usage)
    text = ngettext(
        "The code still evaluates %(keys)s. After the deletion, a call returns its default.",
        "The code still evaluates these flags: %(keys)s. After the deletion, calls return "
        "their defaults.",
        len(used),
    )
    browsers = ngettext(
        "Browsers still receive %(keys)s.",
        "Browsers still receive these flags: %(keys)s.",
        len(in_browsers),
    )
    return [
        text % {"keys": local_list(map(quoted, keys))}
        for text, keys in ((text, used), (browsers, in_browsers))
        if keys
    ]


# The key of a new flag.


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
