"""How long to wait after a failure, and when to give up. Pure, but for the chance in it."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["CIRCUIT_LONGEST", "GIVE_UP_AFTER", "asked_for", "wait"]

#: Seconds after which a message is given up that nobody took.
GIVE_UP_AFTER = 3 * 86_400.0
#: The longest that a receiver is left alone, so that its return is noticed soon.
CIRCUIT_LONGEST = 300.0

_FIRST = 5.0
_LONGEST = 3600.0
_SHORTEST = 1.0
# 5 s doubled so often is more than the longest wait.
_MOST_DOUBLINGS = 10


def wait(attempts: int, longest: float = _LONGEST) -> float:
    """Seconds until the next attempt, at random up to a limit that doubles from 5 s to an hour."""
    limit = min(longest, _FIRST * 2 ** min(attempts - 1, _MOST_DOUBLINGS))
    return random.uniform(_SHORTEST, limit)  # noqa: S311 (spreads load, and hides nothing)


def asked_for(retry_after: str | None, now: datetime) -> float:
    """Seconds that a receiver asks to be left alone, an hour at most; 0 where it does not say."""
    if retry_after is None:
        return 0.0
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        # Longer numbers need not be read.
        return min(float(text[:9]), _LONGEST)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # the last for a year of many digits
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return min(max((at - now).total_seconds(), 0.0), _LONGEST)
