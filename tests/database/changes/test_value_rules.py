"""The rules of a value: changes, SQL, the history, undo, and the keys of flags and values."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flagstaff import changes, get_value
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.fake_workers import join
from tests.support.history import value_history
from tests.support.sql import rows

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)

__all__ = ["join"]

KEY = "max_items"
ENTERPRISE = [{"attribute": "plan", "operator": "in", "values": ["enterprise"]}]
FIFTY = {"conditions": ENTERPRISE, "value": 50}
TWENTY = {"conditions": [], "rollout_percent": 25, "value": 20}
RULES = [FIFTY, TWENTY]


@pytest.fixture
def ruled() -> KeyValueStore:
    changes.values.create(KEY, 10, rules=RULES)
    return KeyValueStore.objects.get(key=KEY)


@pytest.fixture
def secret() -> str:
    """The version of a secret value with rules."""
    Change.objects.all().delete()
    return str(
        changes.values.create(KEY, "hunter2", secret=True, rules=of_values("swordfish")).version
    )


def of_values(*values: object) -> list[dict[str, Any]]:
    return [{"conditions": ENTERPRISE, "value": value} for value in values]


def stored() -> Any:
    row = KeyValueStore.objects.get(key=KEY)
    return row.value, row.rules


def test_rules_are_created_and_updated_with_their_unit(ruled: KeyValueStore) -> None:
    assert stored() == (10, RULES)
    changed = changes.values.update(KEY, {"rules": [FIFTY], "bucket_by": "organization"})
    assert changed.new == {"rules": [FIFTY], "bucket_by": "organization"}
    assert not changes.values.update(KEY, {"rules": [FIFTY]}).written
    with pytest.raises(ConflictError, match="max_items has changed since you read it: rules"):
        changes.values.update(KEY, {"rules": []}, expect={"rules": RULES})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rules": of_values(50, None)}, "rules: rule 2: "),
        ({"rules": [{"conditions": ENTERPRISE}]}, "rules: rule 1: "),
        ({"rules": [TWENTY, FIFTY]}, "rules: rule 1: "),
        ({"rules": {}}, "rules: "),
        ({"bucket_by": "groups"}, 'bucket_by: "groups" cannot be the bucketing unit'),
        (
            {"rules": [{"conditions": [{"segment": "vip"}], "value": 5}]},
            "rules: rule 1 names the segment 'vip', which does not exist",
        ),
    ],
)
def test_rules_that_are_not_valid_are_refused(
    fields: dict[str, Any], message: str, ruled: KeyValueStore
) -> None:
    for change in (
        partial(changes.values.update, KEY, fields),
        partial(changes.values.create, "other", 10, **fields),
    ):
        with pytest.raises(InvalidChangeError) as caught:
            change()
        assert str(caught.value).startswith(message)
    assert stored() == (10, RULES)
    if "segment" not in message:
        with pytest.raises(ValidationError) as error:
            KeyValueStore(key="other", value=10, **fields).full_clean()
        assert list(error.value.message_dict) == [message.partition(":")[0]]


def test_value_of_a_rule_that_breaks_the_schema_is_refused_with_its_number() -> None:
    changes.values.create(KEY, 10, type="integer", choices=[10, 20])
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.update(KEY, {"rules": of_values(20, "10")})
    assert str(caught.value) == (
        "rules: rule 2: the value must be an integer, not a string; did you mean 10 without quotes?"
    )
    with pytest.raises(InvalidChangeError, match=r"^rules: rule 1: 50 is not one of 10, 20"):
        changes.values.create("other", 10, choices=[10, 20], rules=of_values(50))
    changes.values.update(KEY, {"rules": of_values(20)})
    with pytest.raises(InvalidChangeError, match=r"^rules: rule 1: 20 is not one of 10, 30"):
        changes.values.update(KEY, {"choices": [10, 30]})
    with pytest.raises(InvalidChangeError, match="rule 1: the value must be a string"):
        changes.values.update(KEY, {"value": "10", "type": "string", "choices": []})
    assert stored() == (10, of_values(20))


def test_secret_value_of_a_rule_is_not_in_the_message(secret: str) -> None:
    changes.values.update(KEY, {"choices": ["hunter2", "swordfish"]})
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.update(KEY, {"rules": of_values("opensesame")})
    assert str(caught.value) == "rules: rule 1: the value is not one of its choices"


def test_value_of_a_rule_that_sql_wrote_against_the_schema_is_returned() -> None:
    changes.values.create(KEY, 10, type="integer", choices=[10, 20])
    rows("UPDATE flagstaff_keyvaluestore SET rules = %s", json.dumps(of_values("many")))
    assert get_value(KEY, user=7, context={"plan": "enterprise"}) == "many"
    assert get_value(KEY, user=7, context={"plan": "free"}) == 10


@COMMITTED
def test_history_describes_rules() -> None:
    changes.values.create(KEY, 10, rules=[FIFTY])
    changes.values.update(KEY, {"rules": RULES})
    newest, first = value_history(KEY)[:2]
    assert describe_change(first) == ('created, value 10, rules rule 1: 50 if plan is "enterprise"')
    assert describe_change(newest) == (
        'rules rule 1: 50 if plan is "enterprise" → rule 1: 50 if plan is "enterprise"; '
        "rule 2: 20 for 25 % of the others"
    )


# The brake.


def test_set_value_lists_the_rules_that_keep_another_value(ruled: KeyValueStore) -> None:
    changed = changes.values.set(KEY, 5)
    assert changed.kept_by_rules == (
        "users for whom a rule decides keep another value: rule 1 → 50, rule 2 → 20 for 25 %"
    )
    assert changes.values.set(KEY, 5).kept_by_rules == changed.kept_by_rules
    assert changes.values.update(KEY, {"value": 50}).kept_by_rules == (
        "users for whom a rule decides keep another value: rule 2 → 20 for 25 %"
    )
    assert changes.values.update(KEY, {"description": "A page"}).kept_by_rules is None
    changes.values.update(KEY, {"rules": [{**FIFTY, "rollout_percent": 0}]})
    assert changes.values.set(KEY, 7).kept_by_rules is None


@pytest.mark.parametrize(
    "text",
    ['"no rules"', '[{"conditions": [], "rollout_percent": 0, "value": 7}]'],
)
def test_set_value_says_that_unreadable_rules_may_keep_another_value(text: str) -> None:
    changes.values.create(KEY, 10)
    rows("UPDATE flagstaff_keyvaluestore SET rules = %s", text)
    kept = changes.values.set(KEY, 5).kept_by_rules
    assert kept is not None
    assert kept.startswith("the rules cannot be read, so workers may keep earlier ones")
    assert changes.values.set(KEY, 5, everyone=True).kept_by_rules is None


@COMMITTED
def test_set_value_for_everyone_removes_the_rules_in_one_change_and_one_undo() -> None:
    changes.values.create(KEY, 10, rules=RULES)
    changed = changes.values.set(KEY, 5, everyone=True)
    assert (changed.new, changed.kept_by_rules) == ({"value": 5, "rules": []}, None)
    assert stored() == (5, [])
    newest, _created = value_history(KEY)[:2]
    assert newest.version == changed.version
    assert {one.field for one in newest.differences} == {"value", "rules"}
    changes.values.undo(KEY)
    assert stored() == (10, RULES)


@COMMITTED
def test_set_value_works_with_unreadable_rules() -> None:
    changes.values.create(KEY, 10, rules=RULES)
    for text in ('[{"a": 1}]', '"no rules"', json.dumps(RULES)):
        rows("UPDATE flagstaff_keyvaluestore SET rules = %s", text)
        assert changes.values.set(KEY, 4).written
        assert changes.values.set(KEY, 5, everyone=True).written
        assert stored() == (5, [])


# Secrets.


@COMMITTED
def test_change_of_secret_rules_has_no_undo_and_shows_none_of_them(secret: str) -> None:
    changed = changes.values.update(KEY, {"rules": of_values("opensesame")})
    assert (changed.undo, changed.hides("rules")) == (None, True)
    kept = changes.values.set(KEY, "letmein").kept_by_rules
    assert kept == "users for whom a rule decides keep another value: rule 1 → ••••••"


# The keys of flags and values.


def test_new_value_refuses_the_key_of_a_flag_and_the_other_way_round() -> None:
    changes.flags.create("new_checkout")
    changes.values.create(KEY, 10)
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.create("new_checkout", 1)
    assert str(caught.value) == "new_checkout is the key of a flag; choose another key"
    with pytest.raises(InvalidChangeError, match="max_items is the key of a value"):
        changes.flags.create(KEY)
    for row in (KeyValueStore(key="new_checkout", value=1), FeatureFlag(key=KEY)):
        with pytest.raises(ValidationError, match=r"is the key of a (flag|value)"):
            row.full_clean()
    changes.flags.create("old_checkout")
    with pytest.raises(InvalidChangeError, match="max_items is the key of a value"):
        changes.flags.update("old_checkout", {"key": KEY})
    # A pair that exists already can be changed.
    KeyValueStore.objects.create(key="new_checkout", value=1)
    assert changes.values.set("new_checkout", 2).written
    assert changes.flags.enable("new_checkout").written
    assert changes.flags.update("new_checkout", {"key": "new_checkout", "enabled": False}).written
    FeatureFlag.objects.get(key="new_checkout").full_clean()
