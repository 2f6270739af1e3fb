"""A message as Slack's incoming webhooks take it, and those that do as Slack does. Pure."""

from __future__ import annotations

from typing import Any

from flagstaff.webhooks.message import Message

__all__ = ["as_slack"]

# Slack takes 3,000 characters in a block, where what is escaped may be five times as long. Two such
# texts stand in one block; the reason has its own.
_LONGEST, _LONGEST_REASON = 250, 500


def as_slack(message: Message) -> dict[str, Any]:
    """What the format "slack" sends: a line for the notification, and blocks for the page."""
    event = message.event
    key = escaped(event.key)
    did = escaped(message.what)
    name = f"<{message.link}|{key}>" if message.link else key
    parts = [f"by {escaped(message.who)}", *_impact(message.impact)]
    if event.source:
        parts.insert(1, f"through {escaped(event.source)}")
    blocks: list[dict[str, Any]] = [_section(f"*{name}*  {did}")]
    if event.reason:
        blocks.append(_section(f"> {escaped(event.reason, _LONGEST_REASON)}"))
    blocks.append({"type": "context", "elements": [_text("  ·  ".join(parts))]})
    return {"text": f"{key}: {did}, by {escaped(message.who)}", "blocks": blocks}


def escaped(text: str, longest: int = _LONGEST) -> str:
    """One line, cut where it is long, in which nothing is a link or calls anybody."""
    line = " ".join(text.split())
    cut = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _impact(impact: dict[str, int] | None) -> list[str]:
    if impact is None:
        return []
    told = [f"{impact[word]:,} {word} it" for word in ("gain", "lose") if impact[word]]
    return [f"{' and '.join(told) or 'nothing changes'} of {impact['users']:,} users"]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    # Else Slack makes links and calls of plain words, such as https://… and @somebody.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
