"""A message in the format of Slack's incoming webhooks, which other chats accept too. Pure."""

from __future__ import annotations

from itertools import chain
from typing import Any

from flagstaff.contrib.webhooks.message import WebhookMessage

# Slack allows 3,000 characters per block, and escaping can make a text five times as long. A block
# holds at most two short texts, or the reason.
_MAX_TEXT, _MAX_REASON = 250, 500
# The keys that use a segment.
_MAX_KEYS = 10


def as_slack(message: WebhookMessage) -> dict[str, Any]:
    """Returns the body of the format "slack": the notification's text, and the channel's blocks."""
    event = message.event
    key, summary = _escaped(event.key), _escaped(message.summary)
    actor = f"by {_escaped(message.actor_name)}"
    title = f"<{message.link}|{key}>" if message.link else key
    blocks = [_section(f"*{title}*  {summary}")]
    if event.reason:
        blocks.append(_section(f"> {_escaped(event.reason, _MAX_REASON)}"))
    details = [actor]
    if event.source:
        details.append(f"source: {_escaped(event.source)}")
    if keys := [*chain.from_iterable(message.used_by.values())]:
        more = len(keys) - _MAX_KEYS
        text = _escaped(", ".join(keys[:_MAX_KEYS]))
        details.append(f"used by {text} and {more:,} more" if more > 0 else f"used by {text}")
    blocks.append({"type": "context", "elements": [_text("  ·  ".join(details))]})
    return {"text": f"{key}: {summary}, {actor}", "blocks": blocks}


def _escaped(text: str, max_length: int = _MAX_TEXT) -> str:
    """Returns one line of limited length, without links and mentions."""
    line = " ".join(text.split())
    cut = line if len(line) <= max_length else f"{line[: max_length - 1]}…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    # Without `verbatim` Slack turns plain words such as https://… and @name into links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
