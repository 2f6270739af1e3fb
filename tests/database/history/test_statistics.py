"""The history is read by the right index, whatever the planner knows about the table."""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flagstaff.admin.changes.events import others_of
from flagstaff.admin.flag.list import newest_entries
from flagstaff.history.log import events
from flagstaff.models import Change, FeatureFlag
from tests.support.sql import rows

# The reasons make the file long enough that reading all of it is not the best plan.
ENTRIES = """
INSERT INTO flagstaff_change
    (relation, object_pk, key, action, old, new, object_table, transaction_id, reason)
SELECT 'f', {object_pk}, {key}, 'update', '{{}}', '{{}}', 'flagstaff_featureflag'::regclass,
    {transaction_id}, repeat('x', 500)
FROM generate_series(1, {count}) AS n
"""


@pytest.fixture(autouse=True)
def _empty_history(db: None) -> None:
    # New files, without the dead rows of other tests. The statistics go with the transaction.
    rows("TRUNCATE flagstaff_change")


#: What the statistics know about the table.
ONE_FLAG = ENTRIES.format(object_pk="'busy'", key="'busy'", transaction_id="n", count=3000)
LONG_TEXT = "'a text of the length of a uuid ' || n"
STATISTICS = {
    # One flag, with 3,000 entries. The others are newer.
    "one flag": f"{ONE_FLAG}; ANALYZE flagstaff_change",
    # The table was emptied, but its file is as long as before. The index of the ids has one page,
    # that of the objects has more, and so has that of the keys.
    "no entry": (
        ENTRIES.format(object_pk=LONG_TEXT, key=LONG_TEXT, transaction_id="n", count=340)
        + "; UPDATE pg_class SET reltuples = 0, relpages = 100 "
        "WHERE oid::regclass::text LIKE 'flagstaff_change%' AND relkind IN ('r', 'i')"
    ),
    # A histogram of relations: two of them have one entry.
    "rare relations": (
        f"{ONE_FLAG}; UPDATE flagstaff_change SET relation = 'k' WHERE id = "
        "(SELECT min(id) FROM flagstaff_change); UPDATE flagstaff_change SET relation = 's' "
        "WHERE id = (SELECT max(id) FROM flagstaff_change); ANALYZE flagstaff_change"
    ),
}


def indexes_of(read: Callable[[], object], part: str) -> set[str]:
    """The ways in which the statement with this part reads the history."""
    with CaptureQueriesContext(connection) as queries:
        read()
    [statement] = [query["sql"] for query in queries if part in query["sql"]]
    plan = "\n".join(line for [line] in rows(f"EXPLAIN {statement}"))
    used_indexes = re.findall(
        r"using (flagstaff_change_\w+)|Bitmap Index Scan on (flagstaff_change_\w+)"
        r"|(Seq Scan) on flagstaff_change ",
        plan,
    )
    return {"".join(row) for row in used_indexes}


@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS)
def test_list_of_flags_finds_the_entries_of_each_by_its_primary_key(statistics: str) -> None:
    rows(statistics)
    pks = [str(FeatureFlag.objects.create(key=f"flag_{number}").pk) for number in range(20)]
    used = indexes_of(lambda: newest_entries(pks), "newest.id")
    assert used == {"flagstaff_change_object"}


def test_changes_of_transactions_are_found_by_their_number() -> None:
    # The statistics know one transaction, with 3,000 entries, as after the first import.
    rows(ENTRIES.format(object_pk="n", key="'key_' || n", transaction_id="1", count=3000))
    rows("ANALYZE flagstaff_change")
    FeatureFlag.objects.create(key="flag")
    newest = [*events(Change.objects.newest()[:30])]
    used = indexes_of(lambda: others_of(newest), "wanted (transaction_id")
    assert used == {"flagstaff_change_transaction"}
