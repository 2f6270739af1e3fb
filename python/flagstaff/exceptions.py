"""The exceptions of flagstaff. The docstring of a class is its default message."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from flagstaff.history.events import Event
    from flagstaff.serialization.problems import Problem

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
    """flagstaff failed; see the cause of this error and flagstaff.status()"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class ConfigurationError(FlagstaffError, ImproperlyConfigured):
    """the FLAGSTAFF settings are invalid; "manage.py check" lists the problems"""


class PropagationError(FlagstaffError):
    """cannot confirm that the workers applied the change; the change itself is committed"""


class UnknownFlagError(FlagstaffError, LookupError):
    """no flag has this key; create it in the admin, or set UNKNOWN_KEY to "ignore" in FLAGSTAFF"""


class UnknownValueError(FlagstaffError, LookupError):
    """no value has this key; create it in the admin, or set UNKNOWN_KEY to "ignore" in FLAGSTAFF"""


class RefreshError(FlagstaffError):
    """the flags could not be loaded; the last snapshot stays in use, and status() has the error"""


class InvalidChangeError(FlagstaffError, ValueError):
    """the change is not valid, and nothing was written"""


class NoHistoryError(FlagstaffError):
    """the database has no history; it needs PostgreSQL and the triggers of the migrations"""


class NoUsageError(FlagstaffError):
    """the database has no usage; it needs PostgreSQL and the tables of the migrations"""


class NoWebhooksError(FlagstaffError):
    """the database has no deliveries; they need PostgreSQL and the tables of the migrations"""


class DocumentError(FlagstaffError, ValueError):
    """the file cannot be imported, and nothing was written"""

    def __init__(self, problems: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        #: Each has a `path`, a `text`, and a `line` if it is known.
        self.problems = tuple(problems)


class ConflictError(FlagstaffError):
    """the version has changed since it was read, and nothing was written; read it again"""

    def __init__(  # noqa: PLR0913 (both versions, and the events that made them)
        self,
        message: str | None = None,
        *,
        key: str = "",
        expected: int | None = None,
        actual: int | None = None,
        seen: Event | None = None,
        newer: Sequence[Event] = (),
    ) -> None:
        super().__init__(message)
        self.key = key
        #: The version that the caller expected, and the present one.
        self.expected = expected
        self.actual = actual
        #: The event that made the expected version, or None, and the events after it.
        self.seen = seen
        self.newer = tuple(newer)
