"""What a person should know before a deletion of flags: whether the code still uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import NOT_USED, RecentUsage, recent_usage
from flagstaff._words.text import local_list, local_number, quoted
from flagstaff._words.times import local_days, local_time_text
from flagstaff.admin.page import page_of
from flagstaff.changes.changed import command_line

# The flags of which a page says when they were evaluated.
_MAX_KEYS = 20


@dataclass(frozen=True)
class _Usage:
    """The evaluations of the flags of a page; None if they are not known."""

    found: RecentUsage | None


def is_in_use(request: HttpRequest, keys: Sequence[str]) -> bool:
    """Whether one of these flags was evaluated, or in browsers, within a day. Queries."""
    usage = _usage(request, keys)
    return usage is not None and any(_used_today(usage))


def facts_of_deletion(request: HttpRequest, keys: Sequence[str]) -> Iterator[str]:
    """Yields sentences: which flags are in use, how often, and how to find them in the code."""
    usage = _usage(request, keys)
    yield from _in_use(usage) if usage else ()
    for key in keys[:_MAX_KEYS]:
        text = _evaluated(usage, key)
        yield f"{key}: {text}." if len(keys) > 1 else _("Evaluated: %(text)s.") % {"text": text}
    text = ngettext(
        "To find the key in your code, run: %(command)s",
        "To find the keys in your code, run: %(command)s",
        len(keys),
    )
    yield text % {"command": command_line("references", *keys[:_MAX_KEYS])}


def _usage(request: HttpRequest, keys: Sequence[str]) -> RecentUsage | None:
    return page_of(request).once(_Usage, lambda: _Usage(recent_usage(keys))).found


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


def _evaluated(usage: RecentUsage | None, key: str) -> str:
    """When and how often a flag was evaluated, and when it was served in bulk."""
    if usage is None:
        return _("not known")
    days = local_days(usage.days)
    found, texts = usage.keys.get(key, NOT_USED), []
    if found.last_evaluated_at:
        text = _(
            "last evaluation: %(time)s; in the last %(days)s: %(count)s, in the last day: "
            "%(recent)s"
        )
        times = {
            "time": local_time_text(found.last_evaluated_at),
            "count": local_number(found.count),
            "recent": local_number(usage.today.get(key, NOT_USED).count),
            "days": days,
        }
        texts.append(text % times)
    if found.served_to_browsers_at:
        text = _("last served to browsers: %(time)s")
        texts.append(text % {"time": local_time_text(found.served_to_browsers_at)})
    if found.served_in_bulk_at and not texts:
        text = _("last served in bulk, which does not say whether the code uses it: %(time)s")
        texts.append(text % {"time": local_time_text(found.served_in_bulk_at)})
    return "; ".join(texts) or _("not in the last %(days)s") % {"days": days}
