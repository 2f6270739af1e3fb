"""Row level security that hides rows from Django's role: an error, never a part of the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import changes, impact, usage
from flagstaff.exceptions import FlagstaffError, NoHistoryError, NoUsageError, NoWebhooksError
from flagstaff.history import flag_history, forget_user, prune
from flagstaff.models import Change, FeatureFlag
from flagstaff.webhooks.queue import require_tables

pytestmark = pytest.mark.django_db

# A policy for tenants or for archived rows shows a part of them.
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


def hide_rows(table: str, condition: str = "false") -> None:
    """Continues as a role that sees only the rows that fulfil the condition."""
    with connection.cursor() as cursor:
        cursor.execute(POLICY.format(table=table, condition=condition))


def reason(table: str) -> str:
    return (
        f"row level security can hide rows of public.{table} from role policed; as the owner of "
        f"the table, run: ALTER TABLE public.{table} DISABLE ROW LEVEL SECURITY; or as a "
        "superuser: ALTER ROLE policed BYPASSRLS;"
    )


READERS: dict[str, Callable[[], Any]] = {
    "history": lambda: flag_history("new_checkout"),
    "undo": lambda: changes.undo("new_checkout"),
    "restore": lambda: changes.restore("new_checkout", to=1),
    "expected version": lambda: changes.set_rollout("new_checkout", 9, expect_version=1),
    "prune": lambda: prune(timedelta(days=1)),
    "forget-user": lambda: forget_user(1),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_history_with_hidden_entries_is_refused(read: Callable[[], Any]) -> None:
    changes.create("new_checkout", rollout_percent=5)
    changes.set_rollout("new_checkout", 50)
    newest = Change.objects.latest("id").pk
    hide_rows("flagstaff_change", f"id < {newest}")
    with pytest.raises(NoHistoryError) as error:
        read()
    assert str(error.value) == (
        f'history is not available in database "default"; {reason("flagstaff_change")}'
    )
    assert FeatureFlag.objects.get().rollout_percent == 50


def test_change_beside_hidden_entries_is_written() -> None:
    changes.create("new_checkout", rollout_percent=5)
    hide_rows("flagstaff_change")
    changes.disable("new_checkout")
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.parametrize("table", ["flagstaff_usage", "flagstaff_usage_worker"])
def test_usage_with_hidden_rows_is_refused(table: str) -> None:
    hide_rows(table)
    with pytest.raises(NoUsageError) as error:
        usage()
    assert str(error.value) == f'usage is not available in database "default"; {reason(table)}'


@pytest.mark.parametrize("table", ["flagstaff_change", "flagstaff_receiver", "flagstaff_delivery"])
def test_webhooks_with_hidden_rows_are_refused(table: str) -> None:
    hide_rows(table)
    with pytest.raises(NoWebhooksError) as error:
        require_tables()
    assert str(error.value).endswith(reason(table))


@pytest.mark.parametrize(
    "table", ["auth_user", "flagstaff_featureflag", "flagstaff_featureflag_allowed_users"]
)
def test_impact_with_hidden_rows_is_refused(table: str) -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(10))
    changes.create("new_checkout", rollout_percent=0)
    hide_rows(table)
    with pytest.raises(FlagstaffError) as error:
        impact("new_checkout", 100)
    assert str(error.value) == f"the users cannot be counted: {reason(table)}"
