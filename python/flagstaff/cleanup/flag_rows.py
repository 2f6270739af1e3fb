"""The rows of flags, as the signals need them, also of models that lack columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from django.db.models import Count, Q

from flagstaff._engine import forced_off
from flagstaff._tables.model_fields import rules_field
from flagstaff._tables.rows import all_rows
from flagstaff._words.times import aware
from flagstaff.cleanup.constant import Configuration, constant_result
from flagstaff.cleanup.past import configuration_of
from flagstaff.conf import conf


@dataclass(frozen=True)
class OptionalColumns:
    """Their values. A column that the model lacks is empty."""

    owner: str
    tags: tuple[str, ...]
    review_on: date | None
    kind: str
    client_side: bool
    created_at: datetime | None
    changed_at: datetime | None


def optional_columns(flag: Any) -> OptionalColumns:
    """Returns the columns of a flag. Another column of one of these names is ignored."""
    # Not getattr: a project's own relation of such a name would be a query for each flag.
    stored = vars(flag)
    owner, tags, kind = stored.get("owner"), stored.get("tags"), stored.get("kind")
    return OptionalColumns(
        owner=owner if isinstance(owner, str) else "",
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        review_on=_date(stored.get("review_on")),
        kind=kind if isinstance(kind, str) else "",
        client_side=stored.get("client_side") is True,
        created_at=_time(stored.get("created_at")),
        changed_at=_time(stored.get("changed_at")),
    )


def _date(value: object) -> date | None:
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _time(value: object) -> datetime | None:
    return aware(value) if isinstance(value, datetime) else None


# The annotation's name must not clash with a field of the project's model.
_ALLOWED = "flagstaff_allowed"
#: A flag with the number of its allowed users.
CountedRow = tuple[Any, int]


@dataclass(frozen=True)
class Selection:
    """Which flags to read: those that match, and of them those with these primary keys."""

    condition: Q
    pks: Collection[object] | None = None
    #: Flags that were read already; nothing else is looked at.
    rows: Sequence[CountedRow] | None = None
    #: The primary keys of those that an app is about to change; None if that is not known.
    planned: Collection[str] | None = None
    #: Whether the tables of the evidence are known to be readable.
    is_readable: bool = False


ALL_FLAGS = Selection(Q())


@dataclass(frozen=True)
class FlagRow:
    """A flag with what decides its result."""

    pk: str
    key: str
    columns: OptionalColumns
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


def read_flags(selection: Selection) -> list[FlagRow]:
    """Returns the selected flags, by key. One query, or none for rows that were read already."""
    # Once, because a setting says which model it is.
    read = partial(_flag, has_rules=rules_field(conf.flag_model) is not None)
    if selection.rows is not None:
        return [read(row, allowed) for row, allowed in selection.rows if row.key is not None]
    # Evaluations cannot use a row without a key, which a project's own table may have.
    rows = all_rows(conf.flag_model).filter(selection.condition).exclude(key=None).order_by("key")
    rows = rows if selection.pks is None else rows.filter(pk__in=selection.pks)
    counted = rows.annotate(**{_ALLOWED: Count("allowed_users")})
    return [read(row, getattr(row, _ALLOWED)) for row in counted]


def _flag(row: Any, allowed: int, *, has_rules: bool) -> FlagRow:
    return FlagRow(
        pk=str(row.pk),
        key=row.key,
        columns=optional_columns(row),
        configuration=configuration_of(row, has_rules=has_rules),
        allowed=allowed,
    )
