"""Impact: what a change of rows means for the users, counted before it is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Model

from flagstaff.history.kinds import Kind


@dataclass(frozen=True)
class RowState:
    """A row as it is or would be, in memory."""

    kind: Kind
    #: None if there is no row.
    row: Model | None
    #: The primary keys of the allowed users of a flag; None for those in the database.
    allowed_users: Collection[object] | None = None


@dataclass(frozen=True)
class Effect:
    """What a change means for the users of one flag, value or experiment."""

    #: The number of users; None if they are not counted.
    users: int | None
    #: How many gain a flag, and how many lose it.
    gain: int = 0
    lose: int = 0
    #: How many have a flag before and after.
    on: tuple[int, int] = (0, 0)
    #: How many get another result of a value or an experiment.
    changed: int = 0
    #: Whether anonymous users have a flag before and after. Of a value or an experiment, whether
    #: they get another result is the second.
    anonymous: tuple[bool, bool] = (False, False)
    #: The attributes that only a call can answer: conditions on them count as false.
    ignored: tuple[str, ...] = ()
    #: Whether the numbers are estimated from a sample of the users.
    is_estimate: bool = False
    #: Why the users are not counted; empty if they are.
    problem: str = ""


def impact(
    before: Sequence[RowState], after: Sequence[RowState], *, timeout: float = 1.0
) -> Mapping[tuple[Kind, str], Effect]:
    """Counts the users whose results differ between two states of these rows."""
    raise NotImplementedError
