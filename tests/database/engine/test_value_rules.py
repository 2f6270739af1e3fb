"""Values with rules: who gets which value, and why."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser

from flagstaff import get_value, resolve_value, snapshot
from flagstaff.models import KeyValueStore

pytestmark = pytest.mark.django_db

IN_GERMANY = [{"attribute": "country", "operator": "in", "values": ["DE"]}]


def value_with(*rules: object, value: object = 10, **fields: object) -> None:
    KeyValueStore.objects.create(key="max_items", value=value, rules=list(rules), **fields)


def test_first_rule_that_matches_decides() -> None:
    value_with(
        {"conditions": IN_GERMANY, "value": 50},
        {
            "conditions": [{"attribute": "is_authenticated", "operator": "in", "values": [True]}],
            "value": 20,
        },
    )
    assert get_value("max_items", user=1, context={"country": "DE"}) == 50
    assert get_value("max_items", user=1) == 20
    assert get_value("max_items") == 10
    found = resolve_value("max_items", user=1)
    assert (found.value, found.reason, found.rule) == (20, "TARGETING_MATCH", 2)
    assert resolve_value("max_items").reason == "DEFAULT"
    assert snapshot().get_value("max_items", user=1) == 20


def test_last_rule_without_conditions_splits() -> None:
    value_with({"conditions": [], "rollout_percent": 25, "value": {"a": [1]}})
    found = [resolve_value("max_items", user=user) for user in range(1000)]
    assert {one.reason for one in found} == {"SPLIT"}
    assert 200 < sum(one.value == {"a": [1]} for one in found) < 300
    assert resolve_value("max_items", user=AnonymousUser()).reason == "DEFAULT"
