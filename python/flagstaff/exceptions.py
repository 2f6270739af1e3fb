"""The exceptions of flagstaff. The docstring of a class is its default message."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import cast

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from flagstaff._text import Sentence, Value, joined, say

__all__ = [
    "BusyError",
    "ConfigurationError",
    "ConflictError",
    "DeclarationError",
    "DocumentError",
    "ExperimentError",
    "FlagstaffError",
    "InvalidArgumentError",
    "InvalidChangeError",
    "InvalidExperimentError",
    "InvalidPlanError",
    "NoHistoryError",
    "NoUsageError",
    "PlanError",
    "PropagationError",
    "RefreshError",
    "UnknownExperimentError",
    "UnknownFlagError",
    "UnknownPlanError",
    "UnknownSegmentError",
    "UnknownValueError",
]


class FlagstaffError(Exception):
    """flagstaff failed; for details see the original exception and flagstaff.status()"""

    def __init__(self, english: str | None = None, /, **values: Value) -> None:
        """Takes a text, or its English with `values`. By default, it is the docstring."""
        text = english or str(inspect.getdoc(type(self)))
        super().__init__(say(text, **values))

    def __reduce__(self) -> tuple[object, ...]:
        # A copy has the same arguments, which are not always those of `__init__`.
        return _without_init, (type(self), self.args), vars(self)

    @property
    def message(self) -> Sentence:
        """The English text. Pages show it in the reader's language with `localized`."""
        return cast("Sentence", self.args[0])


def _without_init(cls: type[FlagstaffError], args: tuple[object, ...]) -> FlagstaffError:
    return cls.__new__(cls, *args)


class ConfigurationError(FlagstaffError, ImproperlyConfigured):
    """the FLAGSTAFF settings are invalid; "manage.py check" lists the problems"""


class DeclarationError(ConfigurationError):
    """a flag or a value cannot be declared like this"""


class PropagationError(FlagstaffError):
    """waiting for the workers is not possible, so some may not have applied the change"""


class UnknownFlagError(FlagstaffError, LookupError):
    """no flag has this key; check the spelling, create it, or change UNKNOWN_KEY in FLAGSTAFF"""


class UnknownValueError(FlagstaffError, LookupError):
    """no value has this key; check the spelling, create it, or change UNKNOWN_KEY in FLAGSTAFF"""


class UnknownSegmentError(FlagstaffError, LookupError):
    """no segment has this key; check the spelling, or create it"""


class RefreshError(FlagstaffError):
    """the flags could not be loaded; the last snapshot is still used, see status().last_error"""


class InvalidArgumentError(FlagstaffError):
    """an argument cannot be read; nothing was written"""


class InvalidChangeError(FlagstaffError, ValueError):
    """the change is not valid; nothing was written"""

    #: The names of the fields that are refused, as far as they are known.
    fields: tuple[str, ...] = ()


class NoHistoryError(FlagstaffError):
    """history is not available; use PostgreSQL and run manage.py migrate"""


class NoUsageError(FlagstaffError):
    """usage is not available; use PostgreSQL and run manage.py migrate"""


class PlanError(FlagstaffError):
    """the rollout plan does not allow this now; "manage.py flags plan show KEY" says why"""


class InvalidPlanError(PlanError, ValueError):
    """the steps or guards of the rollout plan are not valid; nothing was written"""


class UnknownPlanError(PlanError, LookupError):
    """the flag has no rollout plan; create one"""


class ExperimentError(FlagstaffError):
    """the experiment does not allow this now; "manage.py flags experiment show KEY" says why"""


class InvalidExperimentError(ExperimentError, ValueError):
    """the experiment is not valid; nothing was written"""


class UnknownExperimentError(ExperimentError, LookupError):
    """there is no experiment with this key; create one"""


class BusyError(FlagstaffError, OperationalError):
    """another change holds these rows, or waits for this one; nothing was written; try again"""


class DocumentError(FlagstaffError, ValueError):
    """the file cannot be imported; nothing was written"""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        super().__init__(joined(problems, "\n") or None)
        #: Each is a text, which begins with the place in the file if it is about one row.
        self.problems = tuple(problems)


class ConflictError(FlagstaffError):
    """the flag or value was changed after you read it, and nothing was written; read it again"""

    def __init__(  # noqa: PLR0913 (both versions, and the events that made them)
        self,
        english: str | None = None,
        /,
        *,
        key: str = "",
        expected: int | None = None,
        actual: int | None = None,
        seen: object = None,
        newer: Sequence[object] = (),
        advice: str = "",
    ) -> None:
        super().__init__(english)
        #: The message without the advice at its end. A page has another advice than a terminal.
        self.problem = self.message
        if advice:
            self.args = (say("{problem}; {advice}", problem=self.problem, advice=advice),)
        self.key = key
        #: The version that the caller expected, and the present one. None if fields were expected.
        self.expected = expected
        self.actual = actual
        #: The event that made the expected version, or None, and the events after it.
        self.seen = seen
        self.newer = tuple(newer)
