"""The queries of a load agree with their readers in Rust and with the models."""

import re
from typing import Any

import pytest
from django.db import connection

from flagstaff._tables.database import fill, names, sql
from flagstaff.models import FeatureFlag
from tests.conftest import ROOT

LOADER = (ROOT / "src" / "postgres" / "refresh" / "rows.rs").read_text()

QUERIES = {
    "load_flags_v1": "flag",
    "load_allowed_users_v1": "allowed_users users",
    "load_values_v1": "value",
    "load_segments_v1": "segment",
    "load_groups_v1": "group users",
    "load_some_allowed_users_v1": "allowed_users users",
    "load_some_groups_v1": "group users",
}


def of_all_rows(query: str) -> str:
    """The query of a whole table."""
    return fill(sql(query), {**names(connection), "restriction": ""})


@pytest.mark.parametrize(("query", "reader"), QUERIES.items())
def test_reader_uses_every_column_of_its_query(query: str, reader: str) -> None:
    bodies = [LOADER.split(f"\nfn {part}(")[1].split("\n}\n")[0] for part in reader.split()]
    with connection.cursor() as cursor:
        cursor.execute(of_all_rows(query).replace("$1", "NULL").replace("$2", "NULL"))
        columns = {column.name for column in cursor.description}
    assert (
        set(
            re.findall(
                r'(?:try_get|pk|required|optional|users)\((?:row, )?"(\w+)"', "".join(bodies)
            )
        )
        == columns
    )


def loaded(query: str) -> dict[str, Any]:
    """The only row of a table, as a worker reads it."""
    with connection.cursor() as cursor:
        cursor.execute(of_all_rows(query))
        [row] = cursor.fetchall()
        return {column.name: value for column, value in zip(cursor.description, row, strict=True)}


def test_rules_are_loaded_unless_there_are_none() -> None:
    FeatureFlag(key="new_checkout", rules=[]).save_base()
    assert loaded("load_flags_v1")["rules"] is None
    FeatureFlag.objects.update(rules=["x"])
    assert loaded("load_flags_v1")["rules"] == '["x"]'


def test_bucketing_unit_is_loaded_unless_it_is_the_user() -> None:
    FeatureFlag(key="new_checkout").save_base()
    for unit, read in (("user", None), ("visitor", "visitor"), ("plan", "plan")):
        FeatureFlag.objects.update(bucket_by=unit)
        assert loaded("load_flags_v1")["bucket_by"] == read
