"""The public tests of django-waffle 5.0.0, unchanged, with waffle alone and through Serve."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

#: What tests waffle's admin, its commands, and its own settings, which flagstaff leaves alone.
NOT_PUBLIC = ("test_admin", "test_management", "test_utils")


def outcomes(server: Postgres, **variables: str) -> dict[str, tuple[bool, int]]:
    """Runs waffle's tests. Returns whether each passed, and how often flagstaff evaluated in it.

    Three functions of test_middleware.py are no test cases, so Django's runner leaves them out.
    Another runner finds that they fail: they call WaffleMiddleware as older versions of Django did.
    """
    url = address(server.url, "postgres")
    said = run(url, "manage.py", "test", "waffle", project="waffle_project", **variables)
    report: dict[str, tuple[bool, int]] = json.loads(said.splitlines()[-1])
    return {name.removeprefix("waffle.tests."): one for name, one in report.items()}


def failed(report: dict[str, tuple[bool, int]]) -> set[str]:
    """Returns the names of the tests that did not pass."""
    return {name for name, (passed, _) in report.items() if not passed}


def public(report: dict[str, tuple[bool, int]]) -> dict[str, tuple[bool, int]]:
    """Returns what the report says about the tests of public behaviour."""
    return {name: one for name, one in report.items() if not name.startswith(NOT_PUBLIC)}


@pytest.mark.timeout(180)
def test_all_tests_of_waffle_pass_with_waffle_alone(module_postgres_server: Postgres) -> None:
    report = outcomes(module_postgres_server)
    assert failed(report) == set()
    assert (len(report), len(public(report))) == (181, 140)
