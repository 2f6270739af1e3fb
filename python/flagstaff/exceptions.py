"""The exceptions of flagstaff. The docstring of a class is its default message."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from django.core.exceptions import ImproperlyConfigured

from flagstaff._words.message import Message, Template, lines
from flagstaff._words.message import marked as _

if TYPE_CHECKING:
    from flagstaff.history.events import Event

_WITH_ADVICE = Template("conflict_with_advice", _("%(problem)s; %(advice)s"))

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "DocumentError",
    "ExperimentError",
    "FlagstaffError",
    "InvalidChangeError",
    "InvalidExperimentError",
    "InvalidPlanError",
    "NoHistoryError",
    "NoUsageError",
    "NoWebhooksError",
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

    _default: ClassVar = Template("failed", str(__doc__))

    def __init_subclass__(cls, code: str | None = None) -> None:
        """Makes the docstring a message with this code. `tools.messages` adds it to the catalogue.

        A class without a code has the message of its base class.
        """
        if code is not None:
            cls._default = Template(code, str(inspect.getdoc(cls)))

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self._default())

    @property
    def message(self) -> str:
        """The English text. Pages show it in the reader's language with `localized`."""
        return cast("str", self.args[0])

    @property
    def code(self) -> str | None:
        """The code of the message, the same in all languages; None if it has none."""
        return self.message.code if isinstance(self.message, Message) else None


class ConfigurationError(FlagstaffError, ImproperlyConfigured, code="invalid_settings"):
    """the FLAGSTAFF settings are invalid; "manage.py check" lists the problems"""


class PropagationError(FlagstaffError, code="no_propagation"):
    """waiting for the workers is not possible, so some may not have applied the change"""


class UnknownFlagError(FlagstaffError, LookupError, code="unknown_flag"):
    """no flag has this key; check the spelling, create it, or change UNKNOWN_KEY in FLAGSTAFF"""


class UnknownValueError(FlagstaffError, LookupError, code="unknown_value"):
    """no value has this key; check the spelling, create it, or change UNKNOWN_KEY in FLAGSTAFF"""


class UnknownSegmentError(FlagstaffError, LookupError, code="unknown_segment"):
    """no segment has this key; check the spelling, or create it"""


class RefreshError(FlagstaffError, code="refresh_failed"):
    """the flags could not be loaded; the last snapshot is still used, see status().last_error"""


class InvalidChangeError(FlagstaffError, ValueError, code="invalid_change"):
    """the change is not valid; nothing was written"""


class NoHistoryError(FlagstaffError, code="no_history"):
    """history is not available; use PostgreSQL and run manage.py migrate"""


class NoUsageError(FlagstaffError, code="no_usage"):
    """usage is not available; use PostgreSQL and run manage.py migrate"""


class NoWebhooksError(FlagstaffError, code="no_webhooks"):
    """webhooks are not available; use PostgreSQL and run manage.py migrate"""


class PlanError(FlagstaffError, code="plan_refused"):
    """the rollout plan does not allow this now; "manage.py flags plan KEY status" says why"""


class InvalidPlanError(PlanError, ValueError, code="invalid_plan"):
    """the steps or guards of the rollout plan are not valid; nothing was written"""


class UnknownPlanError(PlanError, LookupError, code="unknown_plan"):
    """the flag has no rollout plan; create one"""


class ExperimentError(FlagstaffError, code="experiment_refused"):
    """the experiment does not allow this now; "manage.py flags experiment KEY show" says why"""


class InvalidExperimentError(ExperimentError, ValueError, code="invalid_experiment"):
    """the experiment is not valid; nothing was written"""


class UnknownExperimentError(ExperimentError, LookupError, code="unknown_experiment"):
    """there is no experiment with this key; create one"""


class DocumentError(FlagstaffError, ValueError, code="invalid_document"):
    """the file cannot be imported; nothing was written"""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        super().__init__(lines(problems) if problems else None)
        #: Each is a text, which begins with the place in the file if it is about one row.
        self.problems = tuple(problems)


class ConflictError(FlagstaffError, code="conflict"):
    """the flag or value was changed after you read it, and nothing was written; read it again"""

    def __init__(  # noqa: PLR0913 (both versions, and the events that made them)
        self,
        message: str | None = None,
        *,
        key: str = "",
        expected: int | None = None,
        actual: int | None = None,
        seen: Event | None = None,
        newer: Sequence[Event] = (),
        advice: str = "",
    ) -> None:
        text = message or self._default()
        super().__init__(_WITH_ADVICE(problem=text, advice=advice) if advice else text)
        self.key = key
        #: The message without the advice at its end. A page has another advice than a terminal.
        self.problem: str = text
        #: The version that the caller expected, and the present one. None if fields were expected.
        self.expected = expected
        self.actual = actual
        #: The event that made the expected version, or None, and the events after it.
        self.seen = seen
        self.newer = tuple(newer)
