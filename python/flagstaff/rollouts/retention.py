"""Deletes what plans no longer need."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db import connections

from flagstaff._tables.batches import delete_in_batches
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff.conf import conf

#: A plan never measures again in a run that has ended, but a late worker may still write for it.
NETWORK_DAYS = 1

# The rows that one transaction deletes.
_BATCH = 5_000


def prune_networks_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the networks of runs that ended before a time, and yields the number of each batch.

    Each batch is committed: a caller may stop between two batches.
    """
    connection = connections[conf.database]
    statement = fill(sql("prune_networks_v1", "flagstaff.rollouts"), optional_names(connection))
    return delete_in_batches(connection, statement, {"before": before}, _BATCH)
