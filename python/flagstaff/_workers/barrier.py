"""Barriers: tokens created after a commit. A worker that has one has loaded what was committed."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import FoundTable, find_table
from flagstaff._tables.names import names, own_names, query
from flagstaff._tables.triggers import triggers_of
from flagstaff.exceptions import PropagationError

# The tables whose changes a worker must not miss.
_LOADED = ("flag_table", "allowed_users_table", "value_table", "segment_table")


def create_barrier(connection: BaseDatabaseWrapper) -> tuple[int, int]:
    """Creates a barrier, which is committed at once, and returns its id and its random number.

    Raises PropagationError without the tables, the functions, the rights or a token trigger.
    """
    own = own_names(connection)
    tokens, workers = (
        find_table(connection, own[name]) for name in ("token_table", "worker_table")
    )
    if tokens is None or workers is None:
        raise PropagationError(
            "the tables of tokens and workers are not on the search path, so propagation cannot be "
            'checked; run "manage.py migrate"'
        )
    _require_rights(connection, tokens, workers)
    _require_token_triggers(connection)
    [(newest, created)] = _rows(connection, tokens, "barrier_v1")
    if newest is not None and created <= newest:
        raise PropagationError(_sequence_behind(tokens))
    found = _rows(connection, tokens, "barrier_nonce_v1", created)
    if not found:
        raise PropagationError(
            "the row that this wait added to flagstaff_token was deleted; wait again"
        )
    return created, found[0][0]


def _rows(
    connection: BaseDatabaseWrapper, tokens: FoundTable, file: str, *parameters: str | int
) -> list[tuple[Any, ...]]:
    """Returns the rows of the query in this SQL file."""
    quoted = {"schema": tokens.schema, "token_table": tokens.qualified}
    return query(connection, file, quoted, parameters or None)


def _require_rights(
    connection: BaseDatabaseWrapper, tokens: FoundTable, workers: FoundTable
) -> None:
    function = f"{tokens.schema}.flagstaff_barrier_v1()"
    [(may_create,)] = _rows(connection, tokens, "barrier_rights_v1", function)
    if may_create is None:
        raise PropagationError(
            "the function {function} does not exist, so propagation cannot be checked; "
            'run "manage.py migrate"',
            function=function,
        )
    if not (may_create and tokens.may_read and workers.may_read):
        raise PropagationError(
            "the role {role} has no right to wait for workers; as the owner of the tables, run: "
            "GRANT EXECUTE ON FUNCTION {function} TO {role}; GRANT SELECT ON {tables} TO {role};",
            role=tokens.role,
            function=function,
            tables=f"{tokens.qualified}, {workers.qualified}",
        )


def _require_token_triggers(connection: BaseDatabaseWrapper) -> None:
    """Raises PropagationError if a worker could have the barrier and miss the change."""
    quoted = names(connection)
    tables = [quoted[one] for one in _LOADED]
    for triggers in triggers_of(connection, tables).values():
        if not triggers.write_tokens:
            raise PropagationError(
                "a token trigger is missing or disabled, so workers see the change at their next "
                'poll and cannot confirm it; run "manage.py check --database {database}"',
                database=connection.alias,
            )


def _sequence_behind(found: FoundTable) -> str:
    return (
        f"the sequence of {found.qualified} is lower than the highest id in the table, for example "
        "because the data was copied without its sequences; as the owner of the table, run: "
        f"{found.set_sequence}"
    )
