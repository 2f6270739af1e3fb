"""The messages of the system checks."""

from typing import Any

from django.core.checks import CheckMessage, run_checks


def check_messages(*tags: str, **options: Any) -> list[CheckMessage]:
    """Returns the messages that the project of the tests does not silence. Each has a hint."""
    every = run_checks(tags=tags or None, **options)
    messages = [message for message in every if not message.is_silenced()]
    assert all(message.hint for message in messages)
    return messages
