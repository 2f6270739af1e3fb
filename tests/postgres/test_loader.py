"""The queries of a load agree with their readers in Rust and with the models."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.db.models import Model

from flagstaff._tables.names import fill, names, sql
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.conftest import ROOT

LOADER = (ROOT / "src" / "postgres" / "refresh" / "rows.rs").read_text()

QUERIES = {
    "load_flags_v1": "flag",
    "load_allowed_users_v1": "allowed_users",
    "load_values_v1": "value",
}


@pytest.mark.django_db
@pytest.mark.parametrize(("query", "reader"), QUERIES.items())
def test_reader_uses_every_column_of_its_query(query: str, reader: str) -> None:
    body = LOADER.split(f"\nfn {reader}(")[1].split("\n}\n")[0]
    with connection.cursor() as cursor:
        cursor.execute(fill(sql(query), names(connection)))
        columns = {column.name for column in cursor.description}
    assert set(re.findall(r'(?:try_get|pk|required)\((?:row, )?"(\w+)"\)', body)) == columns


def test_placeholders_are_columns_of_the_models() -> None:
    through = FeatureFlag.allowed_users.through
    tables: dict[str, type[Model]] = {"flag": FeatureFlag, "allow": through, "value": KeyValueStore}
    named = set(re.findall(r"\{((flag|allow|value)_(\w+))\}", "".join(map(sql, QUERIES))))
    for placeholder, table, part in named - {("allowed_users_type", "allow", "user_type")}:
        meta, name = tables[table]._meta, names(connection)[placeholder].strip('"')
        assert name in ({meta.db_table} if part == "table" else {f.column for f in meta.fields})
