"""Row level security that hides rows from Django's role: an error, never a part of the rows."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from flagstaff import changes, usage
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.exceptions import FlagstaffError, NoHistoryError, NoUsageError
from flagstaff.history import forget_user, prune, require_history
from flagstaff.models import Change, FeatureFlag
from tests.support.conditions import condition
from tests.support.sql import rows

# Continues as a role that sees only the rows that fulfil the condition, as those of a tenant.
# The table is locked before GRANT writes its row of pg_class: autovacuum, which waits for that row
# while it holds the table, would otherwise be in a deadlock with the lock.
POLICY = """
CREATE ROLE policed;
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY partial ON {table} USING ({condition});
GRANT ALL ON ALL TABLES IN SCHEMA public TO policed;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO policed;
SET LOCAL ROLE policed;
"""


def reason(table: str) -> str:
    return (
        f"row level security can hide rows of public.{table} from role policed; as the owner of "
        f"the table, run: ALTER TABLE public.{table} DISABLE ROW LEVEL SECURITY; or as a "
        "superuser: ALTER ROLE policed BYPASSRLS;"
    )


Read = Callable[[], object]
ERRORS: dict[str, tuple[type[FlagstaffError], str]] = {
    "history": (NoHistoryError, 'history is not available in database "default"; '),
    "usage": (NoUsageError, 'usage is not available in database "default"; '),
}
ENTRIES = ("history", "flagstaff_change")
# The error, the table with hidden rows, and what reads it.
READERS: dict[str, tuple[str, str, Read]] = {
    "history": (*ENTRIES, require_history),
    "undo": (*ENTRIES, lambda: changes.flags.undo("new_checkout")),
    "restore": (*ENTRIES, lambda: changes.flags.restore("new_checkout", to=1)),
    "version": (*ENTRIES, lambda: changes.flags.set_rollout("new_checkout", 9, expect_version=1)),
    "prune": (*ENTRIES, lambda: prune(timedelta(days=1))),
    "forget-user": (*ENTRIES, lambda: forget_user(1)),
    "usage": ("usage", "flagstaff_usage", usage),
}


@pytest.mark.parametrize(("error", "table", "read"), READERS.values(), ids=READERS)
def test_read_of_hidden_rows_is_refused(error: str, table: str, read: Read) -> None:
    changes.flags.create(
        "new_checkout", rules=[{"conditions": [condition("groups", "in", "beta")]}]
    )
    changes.flags.set_rollout("new_checkout", 50)
    newest = Change.objects.latest("id").pk
    shown = f"id < {newest}" if table == "flagstaff_change" else "false"
    rows(POLICY.format(table=table, condition=shown))
    kind, start = ERRORS[error]
    with pytest.raises(kind) as caught:
        read()
    assert str(caught.value) == start + reason(table)
    rows("RESET ROLE")
    assert FeatureFlag.objects.get().rollout_percent == 50


@pytest.mark.parametrize(
    "table",
    [
        *("auth_user", "auth_user_groups", "flagstaff_featureflag"),
        "flagstaff_featureflag_allowed_users",
    ],
)
def test_users_beside_hidden_rows_are_not_counted(table: str) -> None:
    changes.flags.create(
        "new_checkout", rules=[{"conditions": [condition("groups", "in", "beta")]}]
    )
    flag = FeatureFlag.objects.get()
    rows(POLICY.format(table=table, condition="false"))
    [effect] = impact_of_enabling([flag]).values()
    assert (effect.users, effect.problem) == (None, reason(table))


def test_change_beside_hidden_entries_is_written() -> None:
    changes.flags.create("new_checkout", rollout_percent=5)
    rows(POLICY.format(table="flagstaff_change", condition="false"))
    changes.flags.disable("new_checkout")
    assert not FeatureFlag.objects.get().enabled
