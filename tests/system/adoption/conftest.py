"""Databases for projects that adopt flagstaff."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.support.workers import address
from tests.system.adoption.project import Project
from tools.postgres import Postgres

_numbers = count(1)


@pytest.fixture
def new_database(module_postgres_server: Postgres) -> Callable[[], str]:
    """Creates an empty database and returns its URL."""

    def create() -> str:
        name = f"shop_{next(_numbers)}"
        with psycopg.connect(module_postgres_server.url, autocommit=True) as session:
            session.execute(f"CREATE DATABASE {name}".encode())
        return address(module_postgres_server.url, name)

    return create


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_database()


@pytest.fixture
def article(tmp_path: Path, database: str) -> Project:
    """The article's project, on PostgreSQL."""
    return Project(tmp_path / "shop", database)
