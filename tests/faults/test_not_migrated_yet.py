"""Workers that were started before the migration: the default, and next to nothing in the log."""

from __future__ import annotations

import time

import pytest

from tests.repeats import repeats
from tests.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
# In full more than a minute, for at most a line in each.
WITHOUT_TABLES = repeats(65, 20)


@pytest.mark.timeout(120)
def test_workers_without_tables_answer_defaults_and_find_the_tables(empty_database: str) -> None:
    with Worker(empty_database) as worker:
        assert worker.ask("flag_enabled", "new_checkout", None, True) is True
        assert worker.ask("get_value", "gateway", "none") == "none"
        worker.ask("call", "tests.faults.reader.begin", 10_000)
        time.sleep(WITHOUT_TABLES)
        found = worker.ask("call", "tests.faults.reader.end")
        assert (found["errors"], found["answers"]) == ([], [[False, "the default"]])
        status, logged = worker.ask("status"), worker.ask("logged")
        assert (status["mode"], status["ready"], status["age"]) == ("down", False, None)
        assert "manage.py migrate" in status["last_error"]
        assert len(logged) <= 2
        assert all("manage.py migrate" in line for _, line in logged)

        worker.ask("migrate")
        worker.sees(["mode"], "live", within=6)
        worker.ask("create_enabled_flag", "new_checkout")
        worker.sees(NEW_CHECKOUT, True, within=1)
