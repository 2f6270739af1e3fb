"""The messages of the system checks."""

from typing import Any

from django.core.checks import CheckMessage, run_checks


def check_messages(*tags: str, **options: Any) -> list[CheckMessage]:
    """Returns the messages that the project of the tests does not silence."""
    found = run_checks(tags=tags or None, **options)
    return [message for message in found if not message.is_silenced()]
