"""What flagstaff raises. A class's docstring is its message when none is given."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "DocumentError",
    "FlagstaffError",
    "InvalidChangeError",
    "NoHistoryError",
    "NoUsageError",
    "NoWebhooksError",
    "PropagationError",
    "RefreshError",
    "UnknownFlagError",
    "UnknownValueError",
]


class FlagstaffError(Exception):
    """flagstaff could not do this; look at the cause of this error and at flagstaff.status()"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class ConfigurationError(FlagstaffError, ImproperlyConfigured):
    """the FLAGSTAFF settings are not usable; "manage.py check" lists what to mend"""


class PropagationError(FlagstaffError):
    """whether the workers have applied a change cannot be told; the change itself is as it was"""


class UnknownFlagError(FlagstaffError, LookupError):
    """no flag has this key; create it in the admin, or let UNKNOWN_KEY be "ignore" in FLAGSTAFF"""


class UnknownValueError(FlagstaffError, LookupError):
    """no value has this key; create it in the admin, or let UNKNOWN_KEY be "ignore" in FLAGSTAFF"""


class RefreshError(FlagstaffError):
    """the flags could not be loaded; the last good answers stay, and status() says what failed"""


class InvalidChangeError(FlagstaffError, ValueError):
    """the change is not valid, and nothing was written"""


class NoHistoryError(FlagstaffError):
    """there is no history here; it is kept on PostgreSQL, by triggers that a migration installs"""


class NoUsageError(FlagstaffError):
    """there is no usage here; it is kept on PostgreSQL, in tables that a migration makes"""


class NoWebhooksError(FlagstaffError):
    """there is no outbox here; it is kept on PostgreSQL, in tables that a migration makes"""


class DocumentError(FlagstaffError, ValueError):
    """the file cannot be taken in, and nothing was written"""

    def __init__(self, problems: Sequence[Any] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        #: Each with its `path`, its `text`, and its `line` where that is known.
        self.problems = tuple(problems)


class ConflictError(FlagstaffError):
    """somebody has changed it since you looked, and nothing was written; look again"""

    def __init__(  # noqa: PLR0913 (both versions, and what made them)
        self,
        message: str | None = None,
        *,
        key: str = "",
        expected: int | None = None,
        actual: int | None = None,
        seen: Any = None,
        newer: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.key = key
        #: The version that was expected, and the one that it has.
        self.expected = expected
        self.actual = actual
        #: The event that made the expected version, or None, and those that came after it.
        self.seen = seen
        self.newer = tuple(newer)
