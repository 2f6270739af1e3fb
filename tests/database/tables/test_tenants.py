"""A connection in the schema of a tenant, such as that of django-tenants.

tests/faults/engine/test_tenants.py has a project with django-tenants itself.
"""

import pytest
from django.db import connection

from flagstaff import flag_enabled
from flagstaff._tables.database import engine_names
from flagstaff.models import FeatureFlag
from tests.support.shop import Shop
from tests.support.sql import rows


@pytest.fixture
def acme(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is that of a tenant."""
    monkeypatch.setattr(connection, "set_schema_to_public", None, raising=False)
    monkeypatch.setattr(connection, "schema_name", "acme", raising=False)


@pytest.mark.usefixtures("acme")
def test_direct_evaluation_reads_the_shared_schema_as_workers_do(shop: Shop) -> None:
    shop.flag("dark_mode")
    # The schema of the tenant has a table of flags of its own.
    rows(
        "CREATE SCHEMA acme; "
        "CREATE TABLE acme.flagstaff_featureflag (LIKE public.flagstaff_featureflag); "
        "SET LOCAL search_path = acme, public"
    )
    assert not FeatureFlag.objects.exists()
    assert flag_enabled("dark_mode") is True


@pytest.mark.usefixtures("acme")
def test_table_whose_model_names_a_schema_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureFlag._meta, "db_table", 'other"."flags')
    names = engine_names(connection)
    assert names["flag_table"] == '"other"."flags"'
    assert names["token_table"] == '"public"."flagstaff_token"'
