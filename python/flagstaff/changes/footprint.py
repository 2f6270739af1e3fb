"""The footprint of a change: what decides about its users, compared as the last thing of a write.

Two changes that nobody would notice alone, such as turning a flag on and widening the segment of
its rules, may give it to everybody together. Nobody locks a row that he does not write, so that
nothing holds a kill: each write compares, one after the other, what its question was about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from django.utils.crypto import salted_hmac

from flagstaff._tables.database import db, names
from flagstaff._tables.rows import BUCKET_BY, RULES, Kind
from flagstaff._text import say, some
from flagstaff._text.json_text import canonical_json
from flagstaff._value_schema import VALUE
from flagstaff.changes.fields import ALLOWED, allowed_pks_of
from flagstaff.changes.row_states import Impact, rules_of
from flagstaff.changes.rule_use import names_in, read_named
from flagstaff.exceptions import ConflictError
from flagstaff.history.describe import field_label

#: A digest of each deciding field, by what the row is, its key, and the name of the field.
Footprint: TypeAlias = Mapping[tuple[str, str, str], str]

#: The fields that decide about users, by what the row is; None is an experiment.
DECIDING: Mapping[Kind | None, tuple[str, ...]] = {
    Kind.FLAG: ("enabled", "rollout_percent", RULES, BUCKET_BY),
    Kind.VALUE: (VALUE, RULES, BUCKET_BY),
    Kind.SEGMENT: ("conditions",),
    None: ("is_active", RULES),
}
_SALT = "flagstaff.footprint"
# The fields that a message names.
_MAX_NAMED = 5


class ChangedMeanwhileError(ConflictError):
    """what decides about the users has changed meanwhile; look at it again"""


def footprint_of(reached: Impact, rules: Iterable[object] = ()) -> Footprint:
    """Returns the footprint of what a change reaches.

    These are the rows before the change, what uses those that change, and the segments and flags
    that rules of both need, before and after; also those of other `rules`. Queries these, and the
    allowed users of flags that are turned on, or needed.
    """
    parts = [
        digests(state.kind, state.row, state.allowed_users) for state in reached.before.values()
    ]
    parts += _allowed_users(reached)
    # Flags and values that use one are rows of the change.
    parts += [digests(None, use.row) for use in reached.uses if use.kind is None]
    read = [*rules, *(use.rules for use in reached.uses)]
    for side in reached.sides:
        read += [rules_of(state.row) for state in side.values()]
    wanted = {name for row_rules in read for name, _place in names_in(row_rules)}
    # Those that change themselves are rows of the change.
    named = read_named(wanted, reached.rows)
    flags = [row for (kind, _key), row in named.items() if kind is Kind.FLAG]
    users = allowed_pks_of(flags) if flags else {}
    parts += [digests(kind, row, users.get(row.pk)) for (kind, _key), row in named.items()]
    return {place: digest for part in parts for place, digest in part}


def _allowed_users(reached: Impact) -> Iterator[Iterator[tuple[tuple[str, str, str], str]]]:
    """Yields the allowed users of flags that are turned on, who had nothing while they were off."""
    sides = [(reached.before.get(key), reached.after.get(key)) for key in reached.rows]
    turned_on = [
        old
        for old, new in sides
        if old is not None and new is not None and old.kind is Kind.FLAG
        if old.allowed_users is None and new.row.enabled and not old.row.enabled
    ]
    users = allowed_pks_of([state.row for state in turned_on]) if turned_on else {}
    yield from (digests(Kind.FLAG, state.row, users[state.row.pk]) for state in turned_on)


def digests(
    kind: Kind | None, row: Any, allowed_users: Collection[object] | None = None
) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yields the footprint of one row; with the allowed users of a flag, if they are given."""
    noun = "experiment" if kind is None else kind.value
    for name in DECIDING[kind]:
        yield (noun, row.key, name), _digest(getattr(row, name))
    if allowed_users is not None:
        yield (noun, row.key, ALLOWED), _digest(sorted(map(str, allowed_users)))


def _digest(value: Any) -> str:
    text = canonical_json(value, allow_nan=True)
    # Half of it is enough, and what waits stores many.
    return salted_hmac(_SALT, text, algorithm="sha256").hexdigest()[:32]


def compare_alone() -> None:
    """Waits until no other transaction compares. Held until the commit, and nothing waits for more.

    To be called as the last thing before a footprint is read again. SQLite has one writer anyway.
    """
    if db.is_postgresql:
        db.lock(f"flagstaff look {names(db.connection)['token_table']}")


def require_same(expected: Footprint, present: Footprint, reached: Impact) -> None:
    """Raises ChangedMeanwhileError with the fields that differ.

    Of what else uses a row that changes, neither the row is named nor what else its rules need, nor
    what a flag needs that they name: not everybody may see them.
    """
    places = [at for at in {**expected, **present} if expected.get(at) != present.get(at)]
    if not places:
        return
    visible = {(str(kind and kind.value), key) for kind, key in reached.rows}
    states = [side[at] for side in reached.sides for at in reached.rows if at in side]
    for state in states:
        visible |= {(kind.value, key) for (kind, key), _ in names_in(rules_of(state.row))}
    is_open = not reached.uses
    shown = [at for at in places if at[:2] in visible or (is_open and at[0] != Kind.FLAG.value)]
    fields = some([f"{field_label(name)} of {key}" for _noun, key, name in shown], _MAX_NAMED)
    what = fields if shown else say("what depends on it, or what it depends on,")
    text = say("{what} has changed meanwhile; look at it again", what=what)
    raise ChangedMeanwhileError(text, key=next((key for _kind, key in reached.rows), ""))
