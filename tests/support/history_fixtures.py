"""A segment, an undo, a role that reads less, and disabled triggers, for tests of the history."""

from collections.abc import Iterator
from contextlib import contextmanager

from flagstaff.changes import undo
from flagstaff.changes.undo import Undone, entries_of_transaction
from tests.support.sql import rows


def undo_transaction(version: int) -> list[Undone]:
    """Undoes everything that the transaction of an entry did."""
    return undo(entries_of_transaction(version))


@contextmanager
def role_that_reads(*tables: str) -> Iterator[None]:
    """Runs the block as the role `no_values`, which may read only these tables."""
    names = ", ".join(tables)
    rows(f"CREATE ROLE no_values; GRANT SELECT ON {names} TO no_values")
    rows("SET ROLE no_values")
    yield
    rows("RESET ROLE; DROP OWNED BY no_values; DROP ROLE no_values")


@contextmanager
def disabled_triggers() -> Iterator[None]:
    """Disables a trigger of the history while the block runs."""
    trigger = "TRIGGER flagstaff_history_update_v1"
    rows(f"ALTER TABLE flagstaff_featureflag DISABLE {trigger}")
    try:
        yield
    finally:
        rows(f"ALTER TABLE flagstaff_featureflag ENABLE {trigger}")
