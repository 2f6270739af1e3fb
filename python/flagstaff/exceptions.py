"""What flagstaff raises. A class's docstring is its message when none is given."""

from __future__ import annotations

import inspect

from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "ConfigurationError",
    "ConfirmationError",
    "FlagstaffError",
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


class ConfirmationError(FlagstaffError):
    """whether the workers have applied a change cannot be told; the change itself is as it was"""


class UnknownFlagError(FlagstaffError, LookupError):
    """no flag has this key; create it in the admin, or let UNKNOWN_KEY be "ignore" in FLAGSTAFF"""


class UnknownValueError(FlagstaffError, LookupError):
    """no value has this key; create it in the admin, or let UNKNOWN_KEY be "ignore" in FLAGSTAFF"""


class RefreshError(FlagstaffError):
    """the flags could not be loaded; the last good answers stay, and status() says what failed"""
