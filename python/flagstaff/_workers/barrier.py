"""A token that is drawn after a commit: who has loaded it has loaded what was committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import FoundTable, find_table
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._tables.triggers import trigger_health
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

__all__ = ["Barrier", "Token", "draw"]

#: An id, and the end of the random number of the token that has it.
Token = tuple[int, str]


@dataclass(frozen=True)
class Barrier:
    """A barrier, and where to look for the tokens that workers show."""

    token: Token
    #: Whether the connection that has drawn it leads through a pooler.
    pooled: bool
    #: Whether every watched table leaves tokens. Otherwise who has loaded the barrier need not have
    #: loaded the change.
    complete: bool
    _tokens: _Tokens

    def is_passed_by(self, token: Token) -> bool:
        """Whether the token was drawn after the barrier, if it is one at all."""
        return token[0] >= self.token[0]

    def known(self, tokens: Iterable[Token]) -> set[Token]:
        """Those of the tokens that are in the table.

        Raises PropagationError where the barrier itself is no more: then nothing can be said.
        """
        asked = {self.token, *tokens}
        found = self._tokens.among(asked)
        if self.token not in found:
            raise PropagationError(
                "the token of this wait is gone: the server was restored or replaced, or more than "
                "a thousand changes came meanwhile; look whether the change is there, and ask again"
            )
        return found


@dataclass(frozen=True)
class _Tokens:
    """The table of tokens."""

    connection: BaseDatabaseWrapper
    names: dict[str, str]

    def among(self, asked: Iterable[Token]) -> set[Token]:
        """Those that are there."""
        asked = set(asked)
        ids = sorted({id_ for id_, _ in asked})
        return asked & {(id_, nonce) for id_, nonce in self.rows("known_tokens_v1", ids)}

    def nonce(self, id_: int) -> str | None:
        """The end of the random number of the token with this id, if there is one."""
        return next((nonce for _, nonce in self.rows("known_tokens_v1", [id_])), None)

    def rows(self, file: str, *parameters: Any) -> list[Any]:
        """What a query gives."""
        with self.connection.cursor() as cursor:
            cursor.execute(fill(sql(file), self.names), parameters or None)
            return list(cursor.fetchall())


def draw(connection: BaseDatabaseWrapper) -> Barrier:
    """Draw a barrier, which is committed at once.

    Raises PropagationError where there is none to be had.
    """
    found = find_table(connection, own_names(connection)["token_table"])
    if found is None:
        raise PropagationError(
            "there is no table of tokens on the search path, so that nothing can be confirmed; "
            'run "manage.py migrate"'
        )
    tokens = _Tokens(connection, {"schema": found.schema, "token_table": found.qualified})
    _require_rights(found, tokens)
    [(newest, drawn, session)] = tokens.rows("barrier_v1")
    if newest is not None and drawn <= newest:
        raise PropagationError(_behind(found))
    nonce = tokens.nonce(drawn)
    if nonce is None:
        raise PropagationError("the token of this wait was not kept; ask again")
    pooled = _is_pooled(connection, session)
    return Barrier((drawn, nonce), pooled, _leave_tokens(connection), tokens)


def _require_rights(found: FoundTable, tokens: _Tokens) -> None:
    function = f"{found.schema}.flagstaff_barrier_v1()"
    [(may_draw,)] = tokens.rows("barrier_rights_v1", function)
    if may_draw is None:
        raise PropagationError(
            f"there is no function {function}, so that nothing can be confirmed; "
            'run "manage.py migrate"'
        )
    if not (may_draw and found.may_read):
        raise PropagationError(
            f"the role {found.role} may not wait for workers; as the owner of the tables run: "
            f"GRANT EXECUTE ON FUNCTION {function} TO {found.role}; "
            f"GRANT SELECT ON {found.qualified} TO {found.role};"
        )


def _leave_tokens(connection: BaseDatabaseWrapper) -> bool:
    """Whether every watched table has a token trigger that fires."""
    tables = trigger_health(connection, conf.flag_model, conf.value_model)
    return all(table.writes_tokens for table in tables)


def _behind(found: FoundTable) -> str:
    table = found.qualified.replace("'", "''")
    mend = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM"
    return (
        f"the sequence of {found.qualified} is behind its rows, as after a copy without sequences, "
        "so that new tokens cannot be told from old ones; as the owner of the table run: "
        f"{mend} {found.qualified};"
    )


def _is_pooled(connection: BaseDatabaseWrapper, session: int) -> bool:
    """Whether the process that answers is another than the one that was named at the log-in."""
    named = connection.connection.info.backend_pid
    return bool(named != session)
