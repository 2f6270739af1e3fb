"""How flagstaff reads rows: where it decides something, and where the admin shows them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.test import RequestFactory

from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table, allowed_user_table
from flagstaff.models import Change, FeatureFlag, KeyValueStore


def admin_rows(model: type[Model]) -> QuerySet[Any]:
    return admin.site.get_model_admin(model).get_queryset(RequestFactory().get("/"))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(lambda: all_rows(FeatureFlag), id="flags"),
        pytest.param(lambda: all_rows(KeyValueStore), id="values"),
        pytest.param(Change.objects.all, id="history"),
        pytest.param(lambda: allowed_user_table().rows, id="allowed users"),
        pytest.param(lambda: actor_table().rows, id="actors"),
        pytest.param(lambda: admin_rows(FeatureFlag), id="flags in the admin"),
        pytest.param(lambda: admin_rows(KeyValueStore), id="values in the admin"),
    ],
)
def test_rows_are_not_served_by_a_query_cache(rows: Callable[[], QuerySet[Any]]) -> None:
    # tests/faults/engine/test_query_caches.py shows that django-cachalot and django-cacheops
    # follow these.
    derived = rows().filter(pk=1).order_by("pk")
    assert "STATEMENT_TIMESTAMP() IS NOT NULL" in str(derived.query)
    assert vars(derived)["_for_write"] is True
