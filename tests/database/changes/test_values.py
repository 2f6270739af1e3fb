"""Changes of values: rules, what SQL wrote, secrets, and the keys of flags and values."""

import json
import traceback
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flagstaff import changes, serialization
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.history import value_history
from tests.support.shop import ENTERPRISE
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)

KEY = "max_items"
FIFTY = {"conditions": [ENTERPRISE], "value": 50}
RULES = [FIFTY, {"conditions": [], "rollout_percent": 25, "value": 20}]
STORED = KeyValueStore.objects.values_list("value", "rules")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bucket_by": "groups"}, 'bucket_by: "groups" cannot be the bucketing unit'),
        ({"choices": [20]}, "value: 10 is not one of 20"),
        (
            {"rules": [{"conditions": [{"segment": "vip"}], "value": 5}]},
            "rules: rule 1 names the segment 'vip', which does not exist",
        ),
    ],
)
def test_invalid_fields_of_a_new_value_and_of_a_stored_one_are_refused(
    fields: dict[str, Any], message: str
) -> None:
    changes.values.create(KEY, 10, rules=RULES)
    for change in (
        partial(changes.values.update, KEY, fields),
        partial(changes.values.create, "other", 10, **fields),
    ):
        with pytest.raises(InvalidChangeError) as caught:
            change()
        assert str(caught.value).startswith(message)
    assert STORED.get() == (10, RULES)


@pytest.mark.parametrize("kind", ["set", "digits", "loop"])
def test_value_that_cannot_be_compared_as_json_is_refused(kind: str) -> None:
    loop: list[object] = []
    loop.append(loop)
    changes.values.create(KEY, 10)
    with pytest.raises(InvalidChangeError, match=r"^value: this is not JSON: "):
        changes.values.set(KEY, {"set": {1}, "digits": 10**5_000, "loop": loop}[kind])


def test_value_that_sql_wrote_against_its_type_is_replaced() -> None:
    changes.values.create(KEY, 10, type="integer", choices=[10, 20])
    rows("UPDATE flagstaff_keyvaluestore SET value = '{}'")
    with pytest.raises(ValidationError):
        KeyValueStore.objects.get().full_clean()
    assert changes.values.set(KEY, 20).written


def test_set_value_lists_the_rules_that_keep_another_value() -> None:
    changes.values.create(KEY, 10, rules=RULES)
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
    "text", ['"no rules"', '[{"a": 1}]', '[{"conditions": [], "rollout_percent": 0, "value": 7}]']
)
def test_set_value_works_with_unreadable_rules_and_says_that_they_may_keep_another(
    text: str,
) -> None:
    changes.values.create(KEY, 10)
    rows("UPDATE flagstaff_keyvaluestore SET rules = %s", text)
    changed = changes.values.set(KEY, 5)
    assert changed.kept_by_rules is not None
    assert changed.kept_by_rules.startswith("the rules cannot be read, so workers may keep earlier")
    assert changes.values.set(KEY, 5, everyone=True).kept_by_rules is None
    assert STORED.get() == (5, [])


@COMMITTED
def test_set_value_for_everyone_removes_the_rules_in_one_change_and_one_undo() -> None:
    changes.values.create(KEY, 10, rules=RULES)
    changed = changes.values.set(KEY, 5, everyone=True)
    assert (changed.new, changed.kept_by_rules) == ({"value": 5, "rules": []}, None)
    assert STORED.get() == (5, [])
    newest, _created = value_history(KEY)[:2]
    assert newest.version == changed.version
    assert {difference.field for difference in newest.differences} == {"value", "rules"}
    changes.values.undo(KEY)
    assert STORED.get() == (10, RULES)


@COMMITTED
@pytest.mark.parametrize("name", ["rules", "choices"])
def test_change_of_a_secret_column_has_no_undo_and_shows_none_of_it(name: str) -> None:
    old = [{"conditions": [ENTERPRISE], "value": "hunter2"}]
    changes.values.create(KEY, "hunter2", secret=True, rules=old)
    new = {"rules": [{**old[0], "value": "hunter3"}], "choices": ["hunter2", "hunter4"]}
    changed = changes.values.update(KEY, {name: new[name]})
    assert (changed.undo, changed.hides(name)) == (None, True)
    kept = changes.values.set(KEY, "hunter4").kept_by_rules
    assert kept == "users for whom a rule decides keep another value: rule 1 → ••••••"


def test_message_of_secret_choices_that_do_not_fit_has_none_of_them() -> None:
    changes.values.create(KEY, "hunter2", secret=True, choices=["hunter2", "swordfish"])
    exported = serialization.export()
    exported["values"][KEY]["type"] = "integer"
    document = serialization.read(json.dumps(exported))
    for refused in (
        lambda: changes.values.update(KEY, {"type": "integer"}),
        lambda: changes.values.update(KEY, {"choices": ["opensesame", "opensesame"]}),
        lambda: serialization.apply(document),
    ):
        with pytest.raises(FlagstaffError, match=r"choice \d") as caught:
            refused()
        assert not any(word in str(caught.value) for word in ("hunter", "sword", "sesame"))


LONG = {"value": ["hunter3", *[1e300] * 4_000]}


@pytest.mark.parametrize(
    ("secret", "fields"),
    [(True, LONG), (True, {"value": "hunter3", "secret": False}), (False, LONG)],
)
def test_error_of_the_database_does_not_contain_a_secret_value(
    secret: bool, fields: dict[str, Any]
) -> None:
    changes.values.create(KEY, "hunter2", secret=secret)
    only_secrets = f"CHECK (secret OR NOT {secret})"
    rows(f"ALTER TABLE flagstaff_keyvaluestore ADD CONSTRAINT only_secrets {only_secrets}")
    with pytest.raises(InvalidChangeError, match="the database rejected the change: ") as caught:
        changes.values.update(KEY, fields)
    text = "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert ("hunter" in text) is not secret


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
