"""Workers started before the migration return the default and log at most two lines."""

from __future__ import annotations

import time

import pytest

from tests.support.repeats import repeats
from tests.support.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
# The full number is more than a minute, because a worker logs at most one line per minute.
WITHOUT_TABLES = repeats(65, 20)


@pytest.mark.timeout(120)
def test_worker_without_tables_returns_defaults_until_they_exist(empty_database: str) -> None:
    with Worker(empty_database) as worker:
        assert worker.ask("flag_enabled", "new_checkout", None, True) is True
        assert worker.ask("get_value", "gateway", "none") == "none"
        worker.ask("call", "tests.faults.evaluation_load.start", 10_000)
        time.sleep(WITHOUT_TABLES)
        found = worker.ask("call", "tests.faults.evaluation_load.stop")
        assert (found["errors"], found["results"]) == ([], [[False, "the default"]])
        status, logged = worker.ask("status"), worker.ask("logged")
        assert (status["mode"], status["ready"], status["age"]) == ("down", False, None)
        assert "manage.py migrate" in status["last_error"]
        assert len(logged) <= 2
        assert all("manage.py migrate" in line for _, line in logged)

        worker.ask("migrate")
        worker.sees(["mode"], "live", within=6)
        worker.ask("create_enabled_flag", "new_checkout")
        worker.sees(NEW_CHECKOUT, True, within=1)
