"""The column of a flag's rules: what is stored, read, compared, and shown in the admin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from flagstaff import changes
from flagstaff._text.json_text import UnreadableJson
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, errors, form_data, page, post_confirmed

pytestmark = pytest.mark.django_db

STAFF = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
ONE = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [1]}]}
# More levels than Python decodes.
DEEP = "[" * 2_000 + "]" * 2_000


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(
        key="new_checkout", enabled=True, rollout_percent=25, rules=[STAFF]
    )


@pytest.fixture
def unreadable(flag: FeatureFlag) -> FeatureFlag:
    """A flag whose rules were written by SQL, and cannot be decoded by Python."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", [DEEP])
    return FeatureFlag.objects.get()


def stored_rules() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rules::text FROM flagstaff_featureflag")
        [(text,)] = cursor.fetchall()
    return str(text)


def test_rules_are_returned_as_they_were_written(flag: FeatureFlag) -> None:
    flag.refresh_from_db()
    assert flag.rules == [STAFF]


def test_rules_that_differ_only_in_true_and_1_are_written(flag: FeatureFlag) -> None:
    assert changes.update("new_checkout", {"rules": [ONE]}).written
    assert "[1]" in stored_rules()


def test_equal_rules_with_another_order_of_names_are_not_written(flag: FeatureFlag) -> None:
    [condition] = STAFF["conditions"]
    turned = {"conditions": [dict(reversed(condition.items()))]}
    assert not changes.update("new_checkout", {"rules": [turned]}).written


def test_flag_with_rules_that_python_cannot_decode_is_disabled(unreadable: FeatureFlag) -> None:
    assert isinstance(unreadable.rules, UnreadableJson)
    changes.disable("new_checkout")
    assert FeatureFlag.objects.filter(enabled=False).exists()


def test_replaced_rules_that_python_cannot_decode_have_no_undo(unreadable: FeatureFlag) -> None:
    changed = changes.update(unreadable.key, {"rules": []})
    assert changed.written
    assert changed.undo is None


def test_bulk_update_keeps_rules_that_python_cannot_decode(unreadable: FeatureFlag) -> None:
    unreadable.enabled = False
    FeatureFlag.objects.bulk_update([unreadable], ["enabled", "rules"])
    assert stored_rules() == DEEP
    assert not FeatureFlag.objects.get().enabled


def test_saved_flag_keeps_rules_that_python_cannot_decode(unreadable: FeatureFlag) -> None:
    unreadable.save()
    assert stored_rules() == DEEP


# The admin.


def url_of(flag: FeatureFlag) -> str:
    return f"{FLAGS}{flag.pk}/change/"


def post(client: Client, flag: FeatureFlag, **fields: Any) -> None:
    data = form_data(client.get(url_of(flag))) | fields
    response = post_confirmed(client, url_of(flag), data)
    assert response.status_code == 302


def test_page_shows_the_rules_as_json(admin_client: Client, flag: FeatureFlag) -> None:
    assert "is_staff" in page(admin_client, url_of(flag))


def test_rules_are_saved_in_the_admin(admin_client: Client, flag: FeatureFlag) -> None:
    text = '[{"conditions": [{"attribute": "plan", "operator": "in", "values": ["paid"]}]}]'
    post(admin_client, flag, rules=text)
    flag.refresh_from_db()
    assert flag.rules == json.loads(text)


def test_emptied_rules_are_no_rules(admin_client: Client, flag: FeatureFlag) -> None:
    post(admin_client, flag, rules="")
    assert stored_rules() == "[]"


def test_untouched_rules_are_not_written(admin_client: Client, flag: FeatureFlag) -> None:
    data = form_data(admin_client.get(url_of(flag)))
    FeatureFlag.objects.update(rules=[])
    assert admin_client.post(url_of(flag), data | {"rollout_percent": 5}).status_code == 302
    assert stored_rules() == "[]"


@pytest.mark.parametrize("text", ["{}", '""', '{"conditions": []}', "[1]"])
def test_rules_of_another_type_are_a_form_error(
    admin_client: Client, flag: FeatureFlag, text: str
) -> None:
    data = form_data(admin_client.get(url_of(flag))) | {"rules": text}
    assert list(errors(admin_client, url_of(flag), data)) == ["rules"]


def test_form_error_names_the_rule_and_the_condition(
    admin_client: Client, flag: FeatureFlag
) -> None:
    text = '[{"name": "100 % beta", "conditions": [{"attribute": "plan", "operator": "is"}]}]'
    data = form_data(admin_client.get(url_of(flag))) | {"rules": text}
    assert errors(admin_client, url_of(flag), data) == {
        "rules": [
            'rule 1 ("100 % beta"), condition 1: the member "values" is missing; add it',
        ]
    }


def test_page_of_a_flag_with_undecodable_rules_opens_and_disables_it(
    admin_client: Client, unreadable: FeatureFlag
) -> None:
    data = form_data(admin_client.get(url_of(unreadable)))
    assert "rules" not in data
    data.pop("enabled")
    assert admin_client.post(url_of(unreadable), data).status_code == 302
    assert FeatureFlag.objects.filter(enabled=False).exists()
    assert stored_rules() == DEEP
