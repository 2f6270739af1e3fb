"""A check reports that rules read groups which workers cannot read."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from flagstaff import experiments
from flagstaff._tables import groups
from flagstaff.models import FeatureFlag, KeyValueStore, Segment

pytestmark = pytest.mark.django_db

READS: list[dict[str, Any]] = [{"attribute": "groups", "operator": "in", "values": ["beta"]}]


def messages() -> list[tuple[str, str]]:
    """Texts and hints of the check."""
    found = run_checks(tags=["flagstaff", "database"], databases=["default"])
    return [(one.msg, str(one.hint)) for one in found if one.id == "flagstaff.W040"]


def create_flag() -> None:
    FeatureFlag.objects.create(key="new_checkout", rules=[{"conditions": READS}])


def create_value() -> None:
    rules = [{"conditions": READS, "value": 50}]
    KeyValueStore.objects.create(key="max_items", value=10, rules=rules)


def create_segment() -> None:
    Segment.objects.create(key="insiders", conditions=READS)


def create_experiment() -> None:
    experiments.create("button", rules=[{"conditions": READS}])


@pytest.mark.parametrize("create", [create_flag, create_value, create_segment, create_experiment])
def test_rules_on_groups_that_cannot_be_read_are_reported(
    create: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "find_field", lambda model, name: None)
    FeatureFlag.objects.create(key="groups", description='{"attribute": "groups"}')
    assert messages() == []
    create()
    [(text, hint)] = messages()
    assert text == (
        'workers cannot read the groups of users: auth.User has no ManyToManyField "groups"; so '
        "conditions on groups are false"
    )
    assert hint.startswith('let the function of "ATTRIBUTES" return the names of groups')


def test_groups_that_can_be_read_are_not_reported() -> None:
    create_flag()
    assert messages() == []
