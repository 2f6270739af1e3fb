"""`manage.py flags`: exit statuses and messages of errors."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from tests.terminals import flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop")]


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


UNKNOWN_KEYS = [
    *("show new_chekout", "on new_chekout", "off new_chekout", "rollout new_chekout 5"),
    *("explain new_chekout 1", "explain new_chekout --anonymous"),
    *("value get payment_gatevay", "value set payment_gatevay 1"),
]


@pytest.mark.parametrize("line", UNKNOWN_KEYS)
def test_unknown_key_is_an_error_with_similar_keys(line: str) -> None:
    status, out, err = flags(*line.split(), "--json")
    assert (status, out) == (5, "")
    assert re.search(r"^CommandError: there is no .* did you mean '(new_ch|payment_ga)\w+'\?$", err)


def test_missing_table_is_an_error_that_names_migrate() -> None:
    execute("ALTER TABLE flagstaff_featureflag RENAME TO gone")
    status, _, err = flags("off", "new_checkout")
    assert status == 1
    assert err == (
        'CommandError: relation "flagstaff_featureflag" does not exist; run "manage.py migrate"\n'
    )


def test_change_in_a_read_only_transaction_is_refused() -> None:
    execute("SET CONSTRAINTS ALL IMMEDIATE; SET TRANSACTION READ ONLY")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith("CommandError: the database does not allow this: cannot execute ")


def test_change_by_a_role_without_privileges_is_refused() -> None:
    execute("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    execute("SET LOCAL ROLE reader")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith(
        "CommandError: the database does not allow this: permission denied for table"
    )
