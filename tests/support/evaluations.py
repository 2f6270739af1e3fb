"""What code of the project gets."""

from typing import Any

from flagstaff import flag_enabled, get_value

__all__ = ["flag_and_value"]


def flag_and_value() -> tuple[bool, Any]:
    """Returns what an anonymous user gets of a flag and of a value."""
    return flag_enabled("new_checkout"), get_value("gateway")
