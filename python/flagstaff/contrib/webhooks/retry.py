"""When to repeat a failed attempt, and when to give up. Pure except for the random delay."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: A delivery that has failed, or whose receiver is not served, for this many seconds is given up.
MAX_AGE = 3 * 86_400.0
#: The longest pause of an unreachable receiver in seconds. Short, to notice its recovery soon.
MAX_PAUSE = 300.0

_INITIAL_DELAY = 5.0
_MAX_DELAY = 3600.0
_MIN_DELAY = 1.0
# Enough for 5 s to exceed the longest delay.
_MAX_DOUBLINGS = 10
_MAX_DIGITS = 9


def retry_delay(attempts: int, max_delay: float = _MAX_DELAY) -> float:
    """Returns a random delay in seconds, below a limit that doubles from 5 s to `max_delay`."""
    limit = min(max_delay, _INITIAL_DELAY * 2 ** min(attempts - 1, _MAX_DOUBLINGS))
    return random.uniform(_MIN_DELAY, limit)  # noqa: S311 (spreads load, protects nothing)


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """Returns the seconds that a Retry-After header asks for: at most an hour, 0 if invalid."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:_MAX_DIGITS]), _MAX_DELAY)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # OverflowError for a year with many digits
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return min(max((at - now).total_seconds(), 0.0), _MAX_DELAY)
