"""Barriers: tokens created after a commit. A worker that has one has loaded what was committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import FoundTable, find_table
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import fill, names, own_names, sql
from flagstaff._tables.triggers import trigger_health
from flagstaff._workers.sessions import is_pooled
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

#: A token's id, and the last digits of its random number (the nonce).
Token: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Barrier:
    """A barrier, with the table of tokens to compare workers' tokens with."""

    token: Token
    #: Whether the connection that created it goes through a pooler.
    pooled: bool
    #: The oid of the token table.
    token_table: int
    #: Whether every watched table has a token trigger. If not, a worker may have the barrier and
    #: miss the change.
    covers_all_tables: bool
    _tokens: _Tokens

    def is_reached_by(self, token: Token) -> bool:
        """Returns True if `token`, which may be forged, is the barrier or a newer one."""
        return token[0] >= self.token[0]

    def known(self, tokens: Iterable[Token]) -> set[Token]:
        """Returns the tokens that are in the table. Makes a query.

        Raises PropagationError if the barrier itself is no longer in the table.
        """
        wanted = {self.token, *tokens}
        found = self._tokens.existing(wanted)
        if self.token not in found:
            raise PropagationError(
                "the row that this wait added to flagstaff_token no longer exists: the server was "
                "restored or replaced, or more than a thousand changes were committed; check that "
                "the change still exists, and wait again"
            )
        return found


@dataclass(frozen=True)
class _Tokens:
    """The table of tokens."""

    connection: BaseDatabaseWrapper
    names: dict[str, str]

    def existing(self, tokens: Iterable[Token]) -> set[Token]:
        """Returns those of the tokens that are in the table."""
        tokens = set(tokens)
        ids = sorted({id_ for id_, _ in tokens})
        return tokens & {(id_, nonce) for id_, nonce in self.rows("known_tokens_v1", ids)}

    def nonce(self, id_: int) -> str | None:
        """Returns the nonce of the token with this id; None if there is none."""
        return next((nonce for _, nonce in self.rows("known_tokens_v1", [id_])), None)

    def rows(self, file: str, *parameters: str | list[int]) -> list[tuple[Any, ...]]:
        """Returns the rows of the query in this SQL file."""
        with self.connection.cursor() as cursor:
            cursor.execute(fill(sql(file), self.names), parameters or None)
            return list(cursor.fetchall())


def create_barrier(connection: BaseDatabaseWrapper) -> Barrier:
    """Creates a barrier, which is committed at once.

    Raises PropagationError without the table, the function or the rights.
    """
    found = find_table(connection, own_names(connection)["token_table"])
    if found is None:
        raise PropagationError(
            "the token table is not on the search path, so propagation cannot be checked; "
            'run "manage.py migrate"'
        )
    tokens = _Tokens(connection, {"schema": found.schema, "token_table": found.qualified})
    _require_rights(found, tokens)
    [(newest, created, session)] = tokens.rows("barrier_v1")
    if newest is not None and created <= newest:
        raise PropagationError(_sequence_behind(found))
    nonce = tokens.nonce(created)
    if nonce is None:
        raise PropagationError(
            "the row that this wait added to flagstaff_token was deleted; wait again"
        )
    pooled = is_pooled(connection, session)
    covered = _have_token_triggers(connection)
    return Barrier((created, nonce), pooled, found.oid, covered, tokens)


def _require_rights(found: FoundTable, tokens: _Tokens) -> None:
    function = f"{found.schema}.flagstaff_barrier_v1()"
    [(may_create,)] = tokens.rows("barrier_rights_v1", function)
    if may_create is None:
        raise PropagationError(
            "the function {function} does not exist, so propagation cannot be checked; "
            'run "manage.py migrate"',
            function=function,
        )
    if not (may_create and found.may_read):
        raise PropagationError(
            "the role {role} has no right to wait for workers; as the owner of the tables, run: "
            "GRANT EXECUTE ON FUNCTION {function} TO {role}; GRANT SELECT ON {table} TO {role};",
            role=found.role,
            function=function,
            table=found.qualified,
        )


def _have_token_triggers(connection: BaseDatabaseWrapper) -> bool:
    """Returns True if every change of a watched table fires a token trigger."""
    # Without their table, no worker loads segments.
    has_segments = find_table(connection, names(connection)["segment_table"]) is not None
    segments = segment_model() if has_segments else None
    tables = trigger_health(connection, conf.flag_model, conf.value_model, segments)
    return all(table.writes_tokens for table in tables)


def _sequence_behind(found: FoundTable) -> str:
    return (
        f"the sequence of {found.qualified} is lower than the highest id in the table, for example "
        "because the data was copied without its sequences; as the owner of the table, run: "
        f"{found.set_sequence}"
    )
