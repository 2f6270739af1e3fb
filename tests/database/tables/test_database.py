"""The database of the flags: nothing of a thread, a tenant or a setting is kept."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from flagstaff._tables.database import db
from flagstaff.models import Segment
from tests.support.shop import GERMAN, STAFF
from tools.limits import seconds


def keys_of_tenant(tenant: str, condition: dict[str, Any], both_are_there: Barrier) -> list[str]:
    """Returns the segments that a thread reads in the schema of its tenant, which it creates."""
    try:
        with db.atomic(), db.connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {tenant}; SET LOCAL search_path = {tenant}, public")
            cursor.execute(f"CREATE TABLE {tenant}.flagstaff_segment (LIKE flagstaff_segment)")
            db.rows(Segment).bulk_create([Segment(pk=1, key=tenant, conditions=[condition])])
            both_are_there.wait(seconds(10))
            keys = [*db.rows(Segment).values_list("key", flat=True)]
            cursor.execute(f"DROP SCHEMA {tenant} CASCADE")
            return keys
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_rows_are_those_of_the_tenant_of_the_thread() -> None:
    both_are_there = Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        results = [
            threads.submit(keys_of_tenant, tenant, condition, both_are_there)
            for tenant, condition in (("hamburg", GERMAN), ("bern", STAFF))
        ]
    assert [result.result() for result in results] == [["hamburg"], ["bern"]]
