"""The public tests of django-waffle 5.0.0, unchanged, with the stand-in."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

#: What tests waffle's admin, its commands, and its own settings.
NOT_PUBLIC = ("test_admin", "test_management", "test_utils")

#: They demand an old result from a replica; flagstaff has the flags of the database it is told.
STALE = {
    "test_waffle.SampleTests.test_read_from_write_db",
    "test_waffle.SwitchTests.test_read_from_write_db",
    "test_waffle.WaffleTests.test_everyone_on_read_from_write_db",
}
#: They demand a new cookie for a random result. A bucket gives the same result without a cookie.
COOKIES = {
    "test_waffle.FunctionTests.test_percent",
    "test_waffle.WaffleTests.test_percent",
}
#: It replaces random.uniform, and looks for the result in request.waffles.
RANDOM = {"test_waffle.WaffleTests.test_reroll"}
#: It evaluates a row that was never saved. Here, the flag of its name decides.
UNSAVED = {"test_models.ModelsTests.test_is_active_for_user_when_everyone_is_active"}
#: It demands a query for a switch that does not exist.
QUERIES = {"test_waffle.SwitchTests.test_no_query"}


def outcomes(server: Postgres) -> dict[str, tuple[bool, int]]:
    """Runs waffle's tests. Returns whether each passed, and how often flagstaff evaluated in it.

    Three functions of test_middleware.py are no test cases, so Django's runner leaves them out.
    Another runner finds that they fail: they call WaffleMiddleware as older versions of Django did.
    """
    url = address(server.url, "postgres")
    said = run(url, "manage.py", "test", project="waffle_project")
    report: dict[str, tuple[bool, int]] = json.loads(said.splitlines()[-1])
    return {name.removeprefix("waffle.tests."): one for name, one in report.items()}


def failed(report: dict[str, tuple[bool, int]]) -> set[str]:
    """Returns the names of the tests that did not pass."""
    return {name for name, (passed, _) in report.items() if not passed}


def public(report: dict[str, tuple[bool, int]]) -> dict[str, tuple[bool, int]]:
    """Returns what the report says about the tests of public behaviour."""
    return {name: one for name, one in report.items() if not name.startswith(NOT_PUBLIC)}


@pytest.mark.timeout(300)
def test_tests_of_waffle_pass_with_stand_in_but_for_these(
    module_postgres_server: Postgres,
) -> None:
    report = public(outcomes(module_postgres_server))
    assert failed(report) == STALE | COOKIES | RANDOM | UNSAVED | QUERIES
    passing = [count for succeeded, count in report.values() if succeeded]
    assert (len(report), len(passing)) == (140, 132)
    # The others have a model that overrides a method, or evaluate nothing.
    assert sum(count > 0 for count in passing) > 90
