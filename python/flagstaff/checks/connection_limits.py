"""The check that workers and Django together have enough connections."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error, transaction

from flagstaff._workers.connection_limits import connection_use
from flagstaff._workers.connection_words import connections_advice, connections_problem
from flagstaff._workers.sessions import list_workers
from flagstaff.checks.check import Problem
from flagstaff.checks.database import Database


def too_few_connections(database: Database) -> Iterator[Problem]:
    """Yields that the server has fewer connections than workers and Django need."""
    connection = database.connection
    try:
        with transaction.atomic(using=connection.alias):
            workers = len(list_workers(connection).workers)
    except Error:
        return
    use = connection_use(connection, workers)
    problem = connections_problem(use) if use else None
    if use and problem:
        yield Problem(
            f'database "{connection.alias}": {problem.rstrip(".")}',
            hint=connections_advice(use).rstrip("."),
        )
