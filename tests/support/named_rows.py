"""Finds out whether a worker reads only the rows that change tokens name."""

from collections.abc import Callable

from tests.support.workers import Worker

# The same transaction deletes the token, so that no token names the row.
UNNAMED = """
    BEGIN;
    UPDATE flagstaff_keyvaluestore SET value = '"unnamed"' WHERE key = 'gateway';
    DELETE FROM flagstaff_token WHERE xact = pg_current_xact_id();
    COMMIT
"""
NAMED = "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('limit', '25')"


def reads_named_rows_only(worker: Worker, write: Callable[[str], object], *, within: float) -> bool:
    """Whether the load of a change misses another row that no token names.

    The next load of everything finds it.
    """
    worker.sees(["get_value", "gateway"], "stripe", within=within)
    write(UNNAMED)
    write(NAMED)
    worker.sees(["get_value", "limit"], 25, within=within)
    gateway = worker.ask("get_value", "gateway")
    assert gateway in {"stripe", "unnamed"}
    return bool(gateway == "stripe")
