"""Sessions that commit, beside Django's connection."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection


@pytest.fixture
def open_session(transactional_db: None) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """Opens sessions, each in a transaction from its first statement on."""
    sessions = []

    def open_session() -> psycopg.Connection[Any]:
        parameters = connection.get_connection_params()
        session: psycopg.Connection[Any] = connection.get_new_connection(parameters)
        # No test waits for long if it waits for a lock.
        session.execute("SET statement_timeout = '5s'")
        session.commit()
        sessions.append(session)
        return session

    yield open_session
    for session in sessions:
        session.close()
