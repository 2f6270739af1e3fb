"""The rows of flags, as the signals need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from flagstaff._engine import forced_off
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.stale.constant import Configuration, constant_result

# The annotation's name must not clash with a field of the project's model.
_ALLOWED = "flagstaff_allowed"


@dataclass(frozen=True)
class AssessedFlag:
    """A flag with what decides its result."""

    pk: str
    key: str
    #: The row.
    fields: Any
    configuration: Configuration
    allowed: int

    @property
    def is_forced_off(self) -> bool:
        """Whether this process evaluates a flag as off that is on for all users."""
        return self.result is True and self.key in forced_off.keys

    @property
    def result(self) -> bool | None:
        """The result of all users; None if it differs."""
        return constant_result(self.configuration, has_allowed_users=self.allowed != 0)


def read_flags(condition: Q) -> list[AssessedFlag]:
    """Returns the flags that match, by key. One query."""
    rows = all_rows(conf.flag_model).filter(condition).order_by("key")
    counted = rows.annotate(**{_ALLOWED: Count("allowed_users")})
    return [_flag(row, getattr(row, _ALLOWED)) for row in counted]


def _flag(row: Any, allowed: int) -> AssessedFlag:
    return AssessedFlag(
        pk=str(row.pk),
        key=row.key,
        fields=row,
        configuration=Configuration(
            row.enabled, row.rollout_percent, None if row.rules == [] else row.rules
        ),
        allowed=allowed,
    )
