"""The column of a flag's rules: what is stored, read, compared, and shown in the admin."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from flagstaff import changes
from tests.support.admin_pages import act, errors_of, flag_url, page
from tests.support.conditions import condition
from tests.support.shop import STAFF, Shop

pytestmark = pytest.mark.django_db

TRUE, ONE = ({"conditions": [condition("level", "in", value)]} for value in (True, 1))


def test_rules_are_written_if_their_json_differs(shop: Shop) -> None:
    shop.flag()
    changes.flags.update("new_checkout", {"rules": [TRUE]})
    [of_true] = TRUE["conditions"]
    turned = {"conditions": [dict(reversed(of_true.items()))]}
    assert not changes.flags.update("new_checkout", {"rules": [turned]}).written
    assert changes.flags.update("new_checkout", {"rules": [ONE]}).written
    assert repr(shop.flag().rules[0]["conditions"][0]["values"]) == "[1]"


# The admin.


def test_rules_are_shown_and_saved_in_the_admin(admin_client: Client, shop: Shop) -> None:
    url = flag_url(shop.flag(rules=[{"conditions": [STAFF]}]), "rules")
    assert "is_staff" in page(admin_client, url)
    rules = [{"conditions": [condition("plan", "in", "paid")]}]
    act(admin_client, url, rules=json.dumps(rules))
    assert shop.flag().rules == rules
    act(admin_client, url, rules="[]")
    assert shop.flag().rules == []


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
    admin_client: Client, shop: Shop, text: str, message: str
) -> None:
    [found] = errors_of(act(admin_client, flag_url(shop.flag(), "rules"), rules=text))
    assert message in found
