"""The messages of the system checks."""

from typing import Any

from django.core.checks import CheckMessage, run_checks


def check_messages(*tags: str, **options: Any) -> list[CheckMessage]:
    """Returns the messages that the project of the tests does not silence. Each has a hint."""
    every = run_checks(tags=tags or None, **options)
    messages = [message for message in every if not message.is_silenced()]
    assert all(message.hint for message in messages)
    return messages


def only_message(messages: list[CheckMessage]) -> tuple[str, str, str]:
    """Returns the id, the text and the hint of the only message; of a model, after its name."""
    [message] = messages
    label = f"{message.obj._meta.label}: " if hasattr(message.obj, "_meta") else ""
    return str(message.id), f"{label}{message.msg}", str(message.hint)
