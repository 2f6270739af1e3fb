"""Statements over Django's connection, and the change tokens that they wrote."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

_OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")
# What `repeat` has written in this process, and its statements.
_REPEATED: dict[Callable[[], object], str] = {}


def rows(query: str, *parameters: Any) -> list[Any]:
    """Runs a statement, and returns its rows if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def statements_of(work: Callable[[], object]) -> list[str]:
    """Runs `work` twice, and returns the statements of the second run, but those of transactions.

    The first run of a process may fill caches, such as Django's of content types.
    """
    work()
    return statements_of_one(work)


def statements_of_one(work: Callable[[], object]) -> list[str]:
    """Runs `work` once, and returns its statements, but those of transactions."""
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries if not query["sql"].startswith(_OF_TRANSACTIONS)]


def repeat(write: Callable[[], object]) -> None:
    """Writes, in a transaction, what a function writes that always executes the same statements.

    From its second call in a process on, these statements are one message to the server: the ORM
    takes as long to compose them as the server to execute them.
    """
    if write in _REPEATED:
        rows(_REPEATED[write])
    else:
        _REPEATED[write] = ";".join(statements_of_one(write))


@contextmanager
def rolled_back() -> Iterator[None]:
    """Rolls back what the block writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def without_table(name: str) -> Iterator[None]:
    """Renames a table while the block runs."""
    rows(f"ALTER TABLE {name} RENAME TO hidden")
    try:
        yield
    finally:
        rows(f"ALTER TABLE hidden RENAME TO {name}")


def forget_statistics(table: str) -> None:
    """Forgets the statistics of a table, which autovacuum may have collected at any time.

    After the rows of another test were rolled back, it has counted none, and the planner would
    choose a plan for an empty table.
    """
    rows("DELETE FROM pg_statistic WHERE starelid = %s::regclass", table)
    rows("UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = %s::regclass", table)


def keep_indexes(table: str, *names: str) -> None:
    """Drops all other indexes of a table, and makes the planner use these, however few rows it has.

    The transaction of the test restores all.
    """
    forget_statistics(table)
    for name, primary in rows(
        "SELECT indexrelid::regclass::text, indisprimary FROM pg_index "
        "WHERE indrelid = %s::regclass AND indexrelid::regclass::text <> ALL (%s)",
        table,
        list(names),
    ):
        rows(f"ALTER TABLE {table} DROP CONSTRAINT {name}" if primary else f"DROP INDEX {name}")
    rows("SET LOCAL enable_seqscan = off")


def copy_in(table: str, line: str) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write(line)


@final
class Tokens:
    """The relations of the tokens since the last call."""

    def __init__(self) -> None:
        self._newest = 0
        self()

    def __call__(self) -> list[str]:
        return [relation for relation, _ in self.pks()]

    def pks(self) -> list[tuple[str, list[Any] | None]]:
        """The same, each with the primary keys that it carries."""
        tokens = rows(
            "SELECT id, relation::text, pks FROM flagstaff_token WHERE id > %s ORDER BY id",
            self._newest,
        )
        self._newest = tokens[-1][0] if tokens else self._newest
        return [(relation, pks) for _, relation, pks in tokens]

    def texts(self) -> list[str]:
        """The same as texts with sorted keys: "f 1 2", pairs as "m 1/2", "s any" without keys."""
        texts = []
        for relation, pks in self.pks():
            keys = ["/".join(pk) if isinstance(pk, list) else str(pk) for pk in pks or []]
            texts.append(" ".join([relation, *(["any"] if pks is None else sorted(keys))]))
        return texts


def insert_users(first: int, last: int) -> str:
    """The statement that creates users with these primary keys."""
    return (
        "INSERT INTO auth_user (id, username, password, first_name, last_name, email, "
        "is_superuser, is_staff, is_active, date_joined) "
        "SELECT id, 'user_' || id, '', '', '', '', false, false, true, now() "
        f"FROM generate_series({first}, {last}) AS id;"
    )
