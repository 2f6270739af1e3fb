"""Call sites that import flagstaff.compat.waffle behave alike with waffle and without it."""

from __future__ import annotations

import pytest

from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

PROJECT = "call_sites_project"
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini"]
BOTH = "shop/call_sites.py"


def passed(server: Postgres, *files: str, **variables: str) -> str:
    """Runs the tests of these files, and returns the last line of the output."""
    url = address(server.url, "postgres")
    return run(url, *PYTEST, *files, project=PROJECT, **variables).splitlines()[-1]


@pytest.mark.timeout(120)
def test_call_sites_behave_alike_with_and_without_waffle(module_postgres_server: Postgres) -> None:
    without = passed(module_postgres_server, BOTH)
    with_waffle = passed(module_postgres_server, BOTH, WITH_WAFFLE="1")
    assert with_waffle.split(" in ")[0] == without.split(" in ")[0]


@pytest.mark.timeout(120)
def test_call_sites_use_flagstaff_after_waffle_has_left(module_postgres_server: Postgres) -> None:
    assert "passed" in passed(module_postgres_server, "shop/without_waffle.py")
