"""A message in the format of Slack's incoming webhooks, which other chats accept too. Pure."""

from __future__ import annotations

from collections.abc import Sequence
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
    event, details = message.event, list[str]()
    if event.source:
        details.append(f"source: {_escaped(event.source)}")
    if keys := [*chain.from_iterable(message.used_by.values())]:
        more = len(keys) - _MAX_KEYS
        text = _escaped(", ".join(keys[:_MAX_KEYS]))
        details.append(f"used by {text} and {more:,} more" if more > 0 else f"used by {text}")
    return slack_body(
        event.key, message.summary, message.actor_name, message.link, event.reason, details
    )


def slack_body(  # noqa: PLR0913, PLR0917 (the parts of a message)
    key: str,
    summary: str,
    actor: str,
    link: str | None,
    reason: str | None,
    details: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns a body. The details are escaped already."""
    key, summary, actor = _escaped(key), _escaped(summary), f"by {_escaped(actor)}"
    title = f"<{link}|{key}>" if link else key
    blocks = [_section(f"*{title}*  {summary}")]
    if reason:
        blocks.append(_section(f"> {_escaped(reason, _MAX_REASON)}"))
    context = _text("  ·  ".join([actor, *details]))
    blocks.append({"type": "context", "elements": [context]})
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
