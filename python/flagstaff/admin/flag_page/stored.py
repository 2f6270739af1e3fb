"""The flag of a page as it is stored, whatever a form has set its fields to."""

from __future__ import annotations

from copy import copy
from typing import Any

__all__ = ["keep_stored", "stored_flag"]

# The attribute of the flag of a page.
_STORED = "flagstaff_stored_flag"


def keep_stored(flag: Any) -> None:
    """Keeps the present state of a flag that was just read."""
    vars(flag)[_STORED] = copy(flag)


def stored_flag(flag: Any) -> Any:
    """Returns the flag as it was read."""
    return vars(flag).get(_STORED, flag)
