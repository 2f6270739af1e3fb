"""A message in the format of Slack's incoming webhooks, which other chats accept too. Pure."""

from __future__ import annotations

from typing import TypedDict

from flagstaff.contrib.webhooks.message import UsedBy, WebhookMessage

# Slack allows 3,000 characters per block, and escaping can make a text five times as long. A block
# holds at most two short texts, or the reason.
_MAX_TEXT, _MAX_REASON = 250, 500
# The keys that use a segment.
_MAX_KEYS = 10


class _Text(TypedDict):
    type: str
    text: str
    verbatim: bool


class _Section(TypedDict):
    type: str
    text: _Text


class _Context(TypedDict):
    type: str
    elements: list[_Text]


class SlackMessage(TypedDict):
    """The body of the format "slack": the notification's text, and the blocks of the channel."""

    text: str
    blocks: list[_Section | _Context]


def as_slack(message: WebhookMessage) -> SlackMessage:
    """Returns the body of the format "slack"."""
    event = message.event
    key, summary = _escaped(event.key), _escaped(message.summary)
    actor = f"by {_escaped(message.actor_name)}"
    title = f"<{message.link}|{key}>" if message.link else key
    blocks: list[_Section | _Context] = [_section(f"*{title}*  {summary}")]
    if event.reason:
        blocks.append(_section(f"> {_escaped(event.reason, _MAX_REASON)}"))
    details = [actor]
    if event.source:
        details.append(f"source: {_escaped(event.source)}")
    if message.used_by is not None:
        details.append(_used_by(message.used_by))
    blocks.append({"type": "context", "elements": [_text("  ·  ".join(details))]})
    return {"text": f"{key}: {summary}, {actor}", "blocks": blocks}


def _escaped(text: str, max_length: int = _MAX_TEXT) -> str:
    """Returns one line of limited length, without links and mentions."""
    line = " ".join(text.split())
    cut = line if len(line) <= max_length else f"{line[: max_length - 1]}…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _used_by(used_by: UsedBy) -> str:
    values = (f"value {key}" for key in used_by.values)
    keys = [*used_by.flags, *values, *(f"experiment {key}" for key in used_by.experiments)]
    if not keys:
        return "used by no flag"
    more = used_by.count - len(keys[:_MAX_KEYS])
    text = _escaped(", ".join(keys[:_MAX_KEYS]))
    return f"used by {text} and {more:,} more" if more > 0 else f"used by {text}"


def _section(text: str) -> _Section:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> _Text:
    # Without `verbatim` Slack turns plain words such as https://… and @name into links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
