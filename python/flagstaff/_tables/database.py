"""The database of the flags, with what its connection is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from flagstaff._connection import is_postgresql
from flagstaff._tables.names import fill, own_names, sql
from flagstaff.conf import conf

Item = TypeVar("Item")
ModelRow = TypeVar("ModelRow", bound=Model)

# The history gets one entry per statement, so statements are large.
_MAX_PER_STATEMENT = 10_000


class _Database:
    """The database of the flags, as the settings, the thread and its tenant say at the time.

    It keeps nothing: neither a connection, which belongs to a thread, nor a name, which depends on
    the schema of a tenant.
    """

    @property
    def alias(self) -> str:
        return conf.database

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread. Does not connect."""
        return connections[self.alias]

    @property
    def is_postgresql(self) -> bool:
        """Only PostgreSQL has workers, a history, usage, webhooks, plans and experiments."""
        return is_postgresql(self.connection)

    @property
    def tables(self) -> dict[str, str]:
        """The quoted names of flagstaff's own tables, by their placeholders in SQL."""
        return own_names(self.connection)

    def table(self, model: type[Model]) -> str:
        """Returns the quoted name of the table of a model."""
        return self.connection.ops.quote_name(model._meta.db_table)

    def atomic(self, **options: bool) -> AbstractContextManager[None]:
        """Runs a block in a transaction. The options are those of `transaction.atomic`."""
        return transaction.atomic(using=self.alias, **options)

    def rows(self, model: type[ModelRow]) -> QuerySet[ModelRow]:
        """Returns the rows of a model of flagstaff. Does not query."""
        return model._default_manager.using(self.alias)

    def query(
        self,
        file: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        more_names: Mapping[str, str] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of the query in `sql/FILE.sql`.

        Its placeholders are the tables of flagstaff, and `more_names`.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(fill(sql(file), {**self.tables, **(more_names or {})}), parameters)
            return list(cursor.fetchall())

    def batches(self, items: Iterable[Item], at_most: int | None = None) -> Iterator[list[Item]]:
        """Splits `items` into lists that fit into one statement."""
        limit = self.connection.features.max_query_params
        # One parameter is left for the flag.
        size = at_most or _MAX_PER_STATEMENT
        size = min(limit - 1, size) if limit else size
        everything = list(items)
        for start in range(0, len(everything), size):
            yield everything[start : start + size]

    def delete_in_batches(
        self, statement: str, parameters: Mapping[str, Any], batch: int
    ) -> Iterator[int]:
        """Runs a statement that deletes some rows until none is left to delete.

        Besides `parameters`, it gets `batch`, the number of rows, and `after`, at first 0. It
        returns how many rows it has deleted, and the `after` of the next batch; NULL after the last
        one. Yields the number of each batch, which is a transaction of its own and committed then.
        """
        after: int | None = 0
        while after is not None:
            with self.atomic(), self.connection.cursor() as cursor:
                cursor.execute(statement, {**parameters, "after": after, "batch": batch})
                deleted, after = cursor.fetchone()
            yield deleted


db = _Database()
