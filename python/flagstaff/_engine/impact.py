"""For whom the answers of a flag would change, if it were rolled out to another share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections

from flagstaff import _core
from flagstaff._engine import direct
from flagstaff._engine.lifecycle import begin
from flagstaff._engine.raw_cursor import select
from flagstaff._tables.names import fill, names, sql, user_field, user_names
from flagstaff._tables.rows import flag_row
from flagstaff._tables.users import allowed_user_table
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, RefreshError
from flagstaff.validators import require_percent

__all__ = ["Difference", "Impact", "difference", "impact"]

_MOST_IN_A_SAMPLE = 1000

_ALLOWED = "SELECT {allowed_users_user} FROM {allowed_users_table} WHERE {allowed_users_flag} = %s"

# What the database's text of a key is the same as Python's of.
_ALIKE = {
    *("AutoField", "BigAutoField", "SmallAutoField"),
    *("IntegerField", "BigIntegerField", "SmallIntegerField"),
    *("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"),
    *("CharField", "TextField", "SlugField", "EmailField", "UUIDField"),
}
# How many users Django brings at a time.
_CHUNK = 2000

# A switch and a rollout in percent.
_State = tuple[bool, int]


@dataclass(frozen=True)
class Impact:
    """What another rollout would do."""

    key: str
    #: The switch and the rollout as they are.
    enabled: bool
    rollout_percent: int
    #: The rollout that was asked about.
    percent: int
    #: How many users there are: every row of the user model's table, active or not.
    users: int
    #: How many of them have the flag now.
    have: int
    #: How many would be given it, and how many it would be taken from.
    gain: int
    lose: int
    #: The primary keys of some of those whose answer would change, drawn evenly.
    sample: tuple[Any, ...]

    @property
    def same(self) -> int:
        """For how many nothing would change."""
        return self.users - self.gain - self.lose

    @property
    def would_have(self) -> int:
        """How many would have the flag."""
        return self.have + self.gain - self.lose

    @property
    def direction(self) -> str:
        """What happens to those whose answer would change: gain, lose, or same where none does."""
        return "gain" if self.gain else "lose" if self.lose else "same"

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        derived = {name: getattr(self, name) for name in ("same", "would_have", "direction")}
        sample = [pk if isinstance(pk, int) else str(pk) for pk in self.sample]
        return {**vars(self), **derived, "sample": sample}


def impact(key: str, percent: int, *, sample: int = 10, timeout: float = 10.0) -> Impact:
    """Count for how many of all users the answer changes if the flag's rollout were `percent`.

    Every user is counted by the evaluator that answers questions, the inactive ones too: they have
    an answer like all others. Nothing is written. `sample` says how many of those whose answer
    changes are named.

    Blocks for at most `timeout` seconds. Raises UnknownFlagError, InvalidChangeError where
    `percent` is not a whole number from 0 to 100, and FlagstaffError where the users cannot be
    counted.
    """
    require_percent(percent)
    if not 0 <= sample <= _MOST_IN_A_SAMPLE:
        raise ValueError(f"a sample has 0 to {_MOST_IN_A_SAMPLE} users, not {sample!r}")
    *figures, pks = _counted(key, percent, sample, timeout)
    enabled, rollout_percent, users, have, gain, lose = figures
    named = tuple(user_field(conf.flag_model).to_python(pk) for pk in pks)
    return Impact(key, enabled, rollout_percent, percent, users, have, gain, lose, named)


@dataclass(frozen=True)
class Difference:
    """What a change has done."""

    users: int
    gain: int
    lose: int


def difference(key: str, before: _State, after: _State, *, timeout: float) -> Difference:
    """Count for how many of all users the answer differs between two states of a flag.

    A state is the switch and the rollout; users and allow-list are those of now. Blocks and raises
    as `impact` does.
    """
    # With the switch as it is the evaluator compares two rollouts; else all who have it differ.
    on = before if before[0] else after
    percent = after[1] if before[0] and after[0] else on[1]
    *_, users, have, gain, lose, _pks = _counted(key, percent, 0, timeout, on)
    if before[0] == after[0]:
        return Difference(users, gain, lose)
    return Difference(users, 0, have) if before[0] else Difference(users, have, 0)


def _counted(
    key: str, percent: int, sample: int, timeout: float, as_if: _State | None = None
) -> Any:
    """The figures, of the flag as it is, or as if it were in another state."""
    until = time.monotonic() + timeout
    counted = _by_the_engine(key, percent, sample, timeout, as_if)
    return counted or _through_django(key, percent, sample, until, as_if)


def _by_the_engine(
    key: str, percent: int, sample: int, timeout: float, as_if: _State | None
) -> Any:
    """The figures; None where the engine's link is not the one to ask, or cannot tell."""
    field = user_field(conf.flag_model)
    begin()
    if _core.report()["mode"] == "direct" or direct.wants_own_writes() or not _is_alike(field):
        return None
    if "\0" in key:
        return None
    connection = connections[conf.engine_database]
    places = {**names(connection), **user_names(connection, field)}
    flag = places if as_if is None else {**places, **_state_as_sql(as_if)}
    statements = (
        fill(sql("impact_flag_v1"), flag),
        sql("impact_extent_v1"),
        fill(sql("impact_users_v1"), places),
    )
    try:
        return _core.impact(key, percent, sample, statements, places["user_table"], timeout)
    except RefreshError as error:
        raise FlagstaffError(str(error)) from error


def _state_as_sql(state: _State) -> dict[str, str]:
    """In the place of the columns."""
    enabled, rollout_percent = state
    return {"flag_enabled": f"{enabled}::bool", "flag_rollout": f"({int(rollout_percent)})::int4"}


def _is_alike(field: Any) -> bool:
    """Whether the database's text of a primary key is what Python has of it."""
    while field.remote_field:
        field = field.target_field
    return field.get_internal_type() in _ALIKE and not hasattr(field, "from_db_value")


def _through_django(key: str, percent: int, sample: int, until: float, as_if: _State | None) -> Any:
    """The figures from Django's own connection, which sees the rows of an open transaction."""
    pk = flag_row(key).pk
    found = direct.read_flag(key)
    if found is None:
        raise FlagstaffError(f"the row of {key!r} cannot be evaluated; a field of it is NULL")
    enabled, rollout_percent = as_if or found[1:]
    field = user_field(conf.flag_model)
    # to_python, because SQLite and MySQL keep a UUID as 32 digits.
    allowed = [str(field.to_python(user)) for (user,) in select(_ALLOWED, [pk])]
    flag = (enabled, rollout_percent, allowed)
    return _core.impact_on(key, percent, sample, flag, _pks(field, until))


def _pks(field: Any, until: float) -> Iterator[Any]:
    rows = allowed_user_table().rows.order_by().values_list("pk", flat=True)
    for count, pk in enumerate(rows.iterator(chunk_size=_CHUNK)):
        if count % _CHUNK == 0 and time.monotonic() >= until:
            raise FlagstaffError("count the users: the time was over before the last of them")
        yield pk
