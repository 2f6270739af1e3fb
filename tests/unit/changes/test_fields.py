"""What the fields of a model accept, and what a change writes instead of it."""

from datetime import date, datetime, timezone
from typing import Any

import pytest

from flagstaff.changes.fields import cleaned
from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment

GATEWAYS = {"value": "Stripe", "type": "string", "choices": ["Stripe", "PayPal"]}
PLAN = [{"attribute": "plan", "operator": "in", "values": ["enterprise"]}]
NOT_JSON = "this is not JSON: it has NaN, an infinity, a number"


def row_of(model: type[Any], **fields: object) -> Any:
    row = model(key="a", **fields)
    row._state.adding = False
    return row


def of_values(*values: object) -> list[dict[str, Any]]:
    return [{"conditions": PLAN, "value": value} for value in values]


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["", [], {}, 0, False, 1.5, {"a": [None]}, r"\u0000", r"\\ud800"])
def test_json_value_is_accepted(value: object) -> None:
    assert cleaned(row_of(KeyValueStore, value=5), {"value": value}) == {"value": value}


@pytest.mark.parametrize(
    ("name", "value", "new"),
    [
        ("rollout_percent", "50", 50),
        ("enabled", "True", True),
        ("review_on", "2027-03-01", date(2027, 3, 1)),
        ("review_on", datetime(2027, 3, 1, 10, tzinfo=timezone.utc), date(2027, 3, 1)),
        ("review_on", None, None),
        ("owner", 5, "5"),
    ],
)
def test_field_is_cleaned_as_by_the_model(name: str, value: object, new: object) -> None:
    assert cleaned(row_of(FeatureFlag), {name: value}) == {name: new}


@pytest.mark.parametrize(
    ("model", "name", "value", "message"),
    [
        (KeyValueStore, "value", None, "value: the value is missing or null; write JSON, such as"),
        (KeyValueStore, "value", {1}, "value: this is not JSON: Object of type set is not JSON"),
        (KeyValueStore, "value", [float("inf")], f"value: {NOT_JSON}"),
        (KeyValueStore, "value", [10**4_300], f"value: {NOT_JSON}"),
        (KeyValueStore, "value", nested(501), "value: get_value() cannot return this value: it is"),
        (KeyValueStore, "value", nested(50_000), "value: this is nested too deeply; use at most"),
        (KeyValueStore, "value", "x" * (1 << 20), "value: the value has more than 1 MiB"),
        (KeyValueStore, "key", "", "key: This field cannot be blank."),
        (KeyValueStore, "type", "text", "type: use one of string, number, integer, boolean, obj"),
        (KeyValueStore, "choices", None, "choices: the choices are not a list"),
        (KeyValueStore, "choices", [[5]], "choices: choice 1 is not a string, a number, true or"),
        (KeyValueStore, "choices", [5, 5], "choices: choice 2 is given twice"),
        (KeyValueStore, "choices", [1, 10**5000], f"choices: {NOT_JSON}"),
        (KeyValueStore, "choices", [float("nan")], f"choices: {NOT_JSON}"),
        (KeyValueStore, "description", "\0", "description: contains a NUL character or half of a"),
        (KeyValueStore, "value", {"a": ["\0"]}, "value: contains a NUL character or half of a"),
        (KeyValueStore, "value", {"\ud83e": 1}, "value: contains a NUL character or half of a"),
        (KeyValueStore, "choices", ["\\\0"], "choices: contains a NUL character or half of a"),
        (KeyValueStore, "rules", of_values("\0"), "rules: rule 1: a text has"),
        (KeyValueStore, "rules", of_values(50, None), "rules: rule 2: "),
        (KeyValueStore, "rules", [{"conditions": PLAN}], "rules: rule 1: "),
        # Only the last rule may match everybody.
        (KeyValueStore, "rules", [{"conditions": [], "value": 1}, *of_values(2)], "rules: rule 1:"),
        (KeyValueStore, "rules", {}, "rules: "),
        (KeyValueStore, "bucket_by", "groups", 'bucket_by: "groups" cannot be the bucketing unit'),
        (FeatureFlag, "rules", [{"conditions": [], "name": "\udfff"}], "rules: rule 1: a text has"),
        (FeatureFlag, "rules", {}, "rules: the rules must be a list, not an object"),
        (FeatureFlag, "key", "a b", "key: the key has white space at position 2"),
        (FeatureFlag, "enabled", "true", "enabled: “true” value must be either True or False"),
        (FeatureFlag, "rollout_percent", 101, "rollout_percent: Ensure this value is less than"),
        (FeatureFlag, "rollout_percent", -1, "rollout_percent: Ensure this value is greater"),
        (FeatureFlag, "bucket_by", "", "bucket_by: This field cannot be blank."),
        (FeatureFlag, "bucket_by", None, "bucket_by: This field cannot be null."),
        (FeatureFlag, "bucket_by", "groups", 'bucket_by: "groups" cannot be the bucketing unit'),
        (FeatureFlag, "bucket_by", "x" * 101, "bucket_by: the bucketing unit has 101"),
        (FeatureFlag, "rules", None, "rules: "),
        (FeatureFlag, "tags", None, "tags: "),
        (FeatureFlag, "tags", [""], "tags: tag 1 is empty; remove it"),
        (FeatureFlag, "rollout_percent", "x", "rollout_percent: “x” value must be an integer."),
        (FeatureFlag, "rollout_percent", 99.9, "rollout_percent: “99.9” value must be an integer."),
        (FeatureFlag, "rollout_percent", True, "rollout_percent: “True” value must be an integer."),
        (FeatureFlag, "rollout_percent", float("inf"), "rollout_percent: “inf” value must be an"),
        (FeatureFlag, "tags", "", "tags: the tags are not a list"),
        (FeatureFlag, "kind", "x", "kind: use one of release, ops, permission"),
        (FeatureFlag, "owner", "\ud83e", "owner: contains a NUL character or half of a surrogate"),
        (FeatureFlag, "owner", "x" * 101, "owner: Ensure this value has at most 100 characters"),
        (FeatureFlag, "review_on", 5, "review_on: the value has a wrong type"),
        (FeatureFlag, "created_at", 5, "created_at: the value has a wrong type"),
        (FeatureFlag, "review_on", "soon", "review_on: “soon” value has an invalid date format."),
        (Segment, "conditions", [], "conditions: there are no conditions, which would include"),
        (Segment, "conditions", [*PLAN, {}], 'conditions: condition 2: the member "attribute"'),
        (Segment, "key", "other", "key: the key of a segment cannot be changed, because rules"),
        (FeatureFlag, "oops", 1, "a flag has no field 'oops' to change"),
        (FeatureFlag, "id", 1, "a flag has no field 'id' to change"),
    ],
)
def test_invalid_field_is_refused_with_its_name(
    model: type[Any], name: str, value: object, message: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        cleaned(row_of(model, **({"value": 5} if model is KeyValueStore else {})), {name: value})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("stored", "fields", "message"),
    [
        ({"value": "a", "type": "string"}, {"value": 1}, "value: the value must be a string"),
        ({"value": 1.5, "type": "number"}, {"value": "1.5"}, "value: the value must be a number"),
        ({"value": 2, "type": "number"}, {"value": True}, "value: the value must be a number"),
        (
            {"value": 2, "type": "integer"},
            {"value": "25"},
            "value: the value must be an integer, not a string",
        ),
        ({"value": 2, "type": "integer"}, {"value": 2.5}, "value: the value must be an integer"),
        ({"value": 2, "type": "integer"}, {"value": True}, "value: the value must be an integer"),
        ({"value": False, "type": "boolean"}, {"value": 0}, "value: the value must be true or"),
        ({"value": {}, "type": "object"}, {"value": []}, "value: the value must be an object"),
        ({"value": [], "type": "array"}, {"value": {}}, "value: the value must be an array"),
        (GATEWAYS, {"value": "Strpie"}, 'value: "Strpie" is not one of "Stripe", "PayPal"'),
        ({"value": 1, "choices": [1, 2]}, {"value": True}, "value: true is not one of 1, 2"),
        ({"value": True, "choices": [True]}, {"value": 1}, "value: 1 is not one of true"),
        ({"value": "1", "choices": ["1"]}, {"value": 1}, 'value: 1 is not one of "1"'),
        (GATEWAYS, {"type": "number"}, "choices: choice 1 must be a number"),
        (GATEWAYS, {"choices": ["Stripe", 1]}, "choices: choice 2 must be a string"),
        (GATEWAYS, {"type": "", "choices": ["Adyen"]}, 'value: "Stripe" is not one of "Adyen"'),
        # Rules of values have the same type and choices.
        (
            {"value": 2, "type": "integer"},
            {"rules": of_values(20, "10")},
            "rules: rule 2: the value must be an integer, not a string",
        ),
        ({"value": 1, "choices": [1]}, {"rules": of_values(5)}, "rules: rule 1: 5 is not one of 1"),
        ({"value": 1, "rules": of_values(5)}, {"choices": [1]}, "rules: rule 1: 5 is not one of 1"),
        (
            {"value": 1, "rules": of_values(5)},
            {"value": "1", "type": "string"},
            "rules: rule 1: the value must be a string",
        ),
        # No message has a secret.
        ({**GATEWAYS, "secret": True}, {"value": "a"}, "value: the value is not one of its ch"),
        (
            {**GATEWAYS, "secret": True},
            {"rules": of_values("a")},
            "rules: rule 1: the value is not one of its choices",
        ),
    ],
)
def test_value_that_breaks_its_type_or_choices_is_refused(
    stored: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        cleaned(row_of(KeyValueStore, **stored), fields)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (row_of(FeatureFlag, tags={"a": 1}), {"enabled": True}),
        (row_of(FeatureFlag, tags={"a": 1}), {"tags": ["a"]}),
        (
            row_of(KeyValueStore, value=2, choices=[1, 1], client_side=True),
            {"client_side": False, "secret": True},
        ),
        (row_of(KeyValueStore, value="a", type="number"), {"secret": True}),
        (row_of(KeyValueStore, value="a", secret=True), {"secret": False, "client_side": True}),
        (row_of(KeyValueStore, value="a", secret=True, client_side=True), {"secret": False}),
        (row_of(KeyValueStore, value="a", secret=True, client_side=True), {"value": "b"}),
        # Decimals make no difference.
        (row_of(KeyValueStore, value=2, choices=[1, 2]), {"value": 1.0}),
    ],
)
def test_change_is_not_refused_because_of_what_it_leaves(row: Any, fields: dict[str, Any]) -> None:
    assert cleaned(row, fields) == fields


@pytest.mark.parametrize(
    ("row", "fields", "messages"),
    [
        (
            row_of(FeatureFlag),
            {"tags": {}, "enabled": "x"},
            ["tags: the tags are not a list", "; enabled: “x” value must be"],
        ),
        (
            row_of(KeyValueStore, value="x", client_side=True),
            {
                "secret": True,
                "type": "number",
                "rules": [{"conditions": [], "rollout_percent": 5, "value": "x"}],
            },
            ["client_side: a secret value cannot", "; value: the value must be", "; rules: rule 1"],
        ),
    ],
    ids=["fields", "schema"],
)
def test_all_invalid_fields_are_named(
    row: Any, fields: dict[str, object], messages: list[str]
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        cleaned(row, fields)
    assert str(error.value).startswith(messages[0])
    assert [message for message in messages if message not in str(error.value)] == []
