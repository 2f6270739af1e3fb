"""The column of a flag's rules: what is stored, read, compared, and shown in the admin."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, act, errors_of, page
from tests.support.conditions import condition
from tests.support.sql import rows

pytestmark = pytest.mark.django_db

STAFF = {"conditions": [condition("is_staff", "in", True)]}
TRUE, ONE = ({"conditions": [condition("level", "in", value)]} for value in (True, 1))
# More levels than Python decodes.
DEEP = "[" * 2_000 + "]" * 2_000


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(
        key="new_checkout", enabled=True, rollout_percent=25, rules=[STAFF]
    )


def stored_rules() -> str:
    [(text,)] = rows("SELECT rules::text FROM flagstaff_featureflag")
    return str(text)


def test_rules_are_written_if_their_json_differs(flag: FeatureFlag) -> None:
    changes.flags.update("new_checkout", {"rules": [TRUE]})
    [condition] = TRUE["conditions"]
    turned = {"conditions": [dict(reversed(condition.items()))]}
    assert not changes.flags.update("new_checkout", {"rules": [turned]}).written
    assert changes.flags.update("new_checkout", {"rules": [ONE]}).written
    assert "[1]" in stored_rules()


# The admin.


def url_of(flag: FeatureFlag) -> str:
    return f"{FLAGS}{flag.pk}/rules/"


def test_rules_are_shown_and_saved_in_the_admin(admin_client: Client, flag: FeatureFlag) -> None:
    assert "is_staff" in page(admin_client, url_of(flag))
    rules = [{"conditions": [condition("plan", "in", "paid")]}]
    act(admin_client, url_of(flag), rules=json.dumps(rules))
    assert FeatureFlag.objects.get().rules == rules
    act(admin_client, url_of(flag), rules="[]")
    assert stored_rules() == "[]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", ""),
        ('""', ""),
        ("[1]", ""),
        (
            '[{"name": "100 % beta", "conditions": [{"attribute": "plan", "operator": "is"}]}]',
            'rule 1 ("100 % beta"), condition 1: the member "values" is missing; add it',
        ),
    ],
)
def test_invalid_rules_are_a_form_error(
    admin_client: Client, flag: FeatureFlag, text: str, message: str
) -> None:
    [found] = errors_of(act(admin_client, url_of(flag), rules=text))
    assert message in found
