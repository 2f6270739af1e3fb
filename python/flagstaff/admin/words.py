"""The words of the console as HTML: a state with its colour, and a key."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

#: The classes of admin.css. Green: works, or all have it. Amber: some have it, or a person should
# look. Red: harm, or nothing guards against it. Grey: nobody has it, nothing happens.
_OK, _PART, _BAD, _OFF = "on", "partial", "tripped", "off"
COLOURS = {
    # Flags.
    "all": _OK,
    "rollout": _PART,
    "by-rules": _PART,
    "allowed-users": _PART,
    "no-users": _OFF,
    "off": _OFF,
    "on": _OK,
    "stale": _PART,
    "unknown keys": _PART,
    # Actions that wait.
    "approval": _PART,
    "waiting": _OK,
    "refused": _OFF,
    "cancelled": _OFF,
    # Rollout plans.
    "pending": _OFF,
    "running": _OK,
    "holding": _PART,
    "paused": _PART,
    "done": _OK,
    "passes": _OK,
    "rolled_back": _BAD,
    "unguarded": _BAD,
    # Experiments, and their verdicts.
    "draft": _OFF,
    "stopped": _OFF,
    "shipped": _OK,
    "forced off": _BAD,
    "better": _OK,
    "worse": _BAD,
    "harm": _BAD,
    "mismatch": _BAD,
    "guardrail_failed": _BAD,
    "no_difference": _OFF,
    "undecided": _PART,
    "too_early": _OFF,
    "no verdict": _BAD,
    # Workers.
    "up to date": _OK,
    "behind": _BAD,
    "older": _PART,
    "unknown": _OFF,
    "lost": _OFF,
}


def colour_of(state: str) -> str:
    """Returns the class of the colour of a state; red if SQL has written the state."""
    return COLOURS.get(state, _BAD)


def badge(state: str, text: object, *, title: str = "") -> SafeString:
    """Returns a text as a label in the colour of a state; red if SQL has written the state."""
    return format_html(
        '<span class="flagstaff-state flagstaff-{}"{}>{}</span>',
        colour_of(state),
        title and format_html(' title="{}"', title),
        text,
    )


def key_link(key: str, url: str = "") -> SafeString:
    """Returns a key, as a link unless the URL is empty."""
    if not url:
        return format_html('<span class="flagstaff-key">{}</span>', key)
    return format_html('<a class="flagstaff-key" href="{}">{}</a>', url, key)
