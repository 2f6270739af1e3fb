"""The public tests of django-waffle 5.0.0, unchanged, with waffle alone and through Serve."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

#: What tests waffle's admin, its commands, and its own settings, which flagstaff leaves alone.
NOT_PUBLIC = ("test_admin", "test_management", "test_utils")

#: They demand an old result from a replica. Serve has the flags of the database that is written.
STALE = {
    "test_waffle.SampleTests.test_read_from_write_db",
    "test_waffle.SwitchTests.test_read_from_write_db",
    "test_waffle.WaffleTests.test_everyone_on_read_from_write_db",
}
#: They demand a cookie that keeps a result. A bucket gives the same result without a cookie.
COOKIES = {
    "test_mixin.WaffleFlagMixinTest.test_override_with_cookie",
    "test_waffle.FunctionTests.test_percent",
    "test_waffle.WaffleTests.test_percent",
    "test_waffle.WaffleTests.test_persist_active_flag",
    "test_waffle.WaffleTests.test_persist_inactive_flag",
}
#: It replaces random.uniform, and looks for the result in request.waffles.
RANDOM = {"test_waffle.WaffleTests.test_reroll"}


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


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("percent", "failing", "passed", "evaluated"),
    [("cookie", STALE, 137, 104), ("bucket", STALE | COOKIES | RANDOM, 131, 98)],
)
def test_tests_of_waffle_pass_through_serve_but_for_these(
    percent: str, failing: set[str], passed: int, evaluated: int, module_postgres_server: Postgres
) -> None:
    report = outcomes(module_postgres_server, WAFFLE_PERCENT=percent)
    assert failed(report) == failing
    passing = [count for succeeded, count in public(report).values() if succeeded]
    assert (len(report), len(passing)) == (181, passed)
    # The others have a missing row or a model that overrides a method, or evaluate nothing.
    assert sum(count > 0 for count in passing) == evaluated
