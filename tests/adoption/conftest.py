"""Databases for projects that are adopted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.adoption.project import Project
from tests.workers import address
from tools.postgres import Postgres

_numbers = count(1)


@pytest.fixture
def new_database(module_postgres_server: Postgres) -> Callable[[], str]:
    """Make an empty database, and give its address."""

    def create() -> str:
        name = f"shop_{next(_numbers)}"
        with psycopg.connect(module_postgres_server.url, autocommit=True) as session:
            session.execute(f"CREATE DATABASE {name}".encode())
        return address(module_postgres_server.url, name)

    return create


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The address of an empty database."""
    return new_database()


@pytest.fixture
def article(tmp_path: Path, database: str) -> Project:
    """The project as the article's reader has it, on PostgreSQL."""
    return Project(tmp_path / "shop", database)
