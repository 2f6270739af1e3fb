"""Rules evaluated in memory read the attributes of a loaded user without a query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User

from flagstaff import all_flags, explain, flag_enabled, refresh
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

CONDITIONS = {
    "of_column": {"attribute": "last_name", "operator": "in", "values": ["Ada"]},
    "of_staff": {"attribute": "is_staff", "operator": "in", "values": [True]},
    "of_authenticated": {"attribute": "is_authenticated", "operator": "in", "values": [True]},
    "of_group": {"attribute": "groups", "operator": "in", "values": ["beta"]},
}


@pytest.fixture(autouse=True)
def flags(settings: Any) -> Iterator[None]:
    """Flags whose rules read a column and built-in attributes, in memory."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["last_name"]}
    user = User.objects.create(username="ada", last_name="Ada", is_staff=True)
    user.groups.add(Group.objects.create(name="beta"))
    for key, condition in CONDITIONS.items():
        FeatureFlag.objects.create(key=key, enabled=True, rules=[{"conditions": [condition]}])
    with live_engine():
        refresh()
        yield


def test_rules_for_loaded_user_are_evaluated_without_query(django_assert_num_queries: Any) -> None:
    user = User.objects.get()
    with django_assert_num_queries(0):
        assert all(flag_enabled(key, user) for key in CONDITIONS)
        assert all(explain(key, user).value for key in CONDITIONS)
        assert all_flags(user) == dict.fromkeys(sorted(CONDITIONS), True)


def test_deferred_column_is_missing_without_query(django_assert_num_queries: Any) -> None:
    user = User.objects.defer("last_name", "is_staff").get()
    with django_assert_num_queries(0):
        assert not flag_enabled("of_column", user)
        assert not flag_enabled("of_staff", user)
        assert flag_enabled("of_authenticated", user)
        assert flag_enabled("of_group", user)
        [rule] = explain("of_column", user).rules
    assert [condition.outcome for condition in rule.conditions] == ["missing"]
