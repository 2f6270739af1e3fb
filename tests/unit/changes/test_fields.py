"""What the fields of a model accept, and what a change writes instead of it."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from flagstaff.changes.fields import cleaned
from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore


def row_of(model: type[Any], **fields: object) -> Any:
    row = model(key="a", **fields)
    row._state.adding = False
    return row


@pytest.mark.parametrize("value", ["", [], {}, 0, False, 1.5, {"a": [None]}, r"\u0000", r"\\ud800"])
def test_json_value_is_accepted(value: object) -> None:
    assert cleaned(row_of(KeyValueStore, value=5), {"value": value}) == {"value": value}


@pytest.mark.parametrize(
    ("name", "given", "new"),
    [
        ("rollout_percent", "50", 50),
        ("enabled", "true", None),
        ("enabled", "True", True),
        ("review_on", "2027-03-01", date(2027, 3, 1)),
        ("review_on", datetime(2027, 3, 1, tzinfo=timezone.utc), date(2027, 3, 1)),
        ("review_on", None, None),
        ("owner", 5, "5"),
    ],
)
def test_field_is_cleaned_as_by_the_model(name: str, given: object, new: object) -> None:
    if given == "true":
        with pytest.raises(InvalidChangeError, match="enabled: “true” value must be either"):
            cleaned(row_of(FeatureFlag), {name: given})
        return
    assert cleaned(row_of(FeatureFlag), {name: given}) == {name: new}


@pytest.mark.parametrize(
    ("model", "name", "given", "message"),
    [
        (KeyValueStore, "value", None, "value: the value is missing or null; write JSON, such as"),
        (KeyValueStore, "value", {1}, "value: this is not JSON: Object of type set is not JSON"),
        (KeyValueStore, "value", "x" * (1 << 20), "value: the value has more than 1 MiB"),
        (KeyValueStore, "key", "", "key: This field cannot be blank."),
        (KeyValueStore, "choices", None, "choices: the choices are not a list"),
        (KeyValueStore, "description", "\0", "description: contains a NUL character or half of a"),
        (KeyValueStore, "value", {"a": ["\0"]}, "value: contains a NUL character or half of a"),
        (KeyValueStore, "value", {"\ud83e": 1}, "value: contains a NUL character or half of a"),
        (KeyValueStore, "choices", ["\\\0"], "choices: contains a NUL character or half of a"),
        (KeyValueStore, "rules", [{"value": "\0", "conditions": []}], "rules: rule 1: a text has"),
        (FeatureFlag, "rules", [{"conditions": [], "name": "\udfff"}], "rules: rule 1: a text has"),
        (FeatureFlag, "key", "a b", "key: the key has white space at position 2"),
        (FeatureFlag, "rollout_percent", 101, "rollout_percent: Ensure this value is less than"),
        (FeatureFlag, "rollout_percent", "x", "rollout_percent: “x” value must be an integer."),
        (FeatureFlag, "rules", {}, "rules: the rules must be a list, not an object"),
        (FeatureFlag, "tags", "", "tags: the tags are not a list"),
        (FeatureFlag, "kind", "x", "kind: use one of release, ops, permission"),
        (FeatureFlag, "owner", "\ud83e", "owner: contains a NUL character or half of a surrogate"),
        (KeyValueStore, "choices", [1, 10**5000], "choices: this is not JSON: it has NaN, an inf"),
        (KeyValueStore, "choices", [float("nan")], "choices: this is not JSON: it has NaN, an inf"),
        (FeatureFlag, "rollout_percent", 99.9, "rollout_percent: “99.9” value must be an integer."),
        (FeatureFlag, "rollout_percent", True, "rollout_percent: “True” value must be an integer."),
        (FeatureFlag, "rollout_percent", float("inf"), "rollout_percent: “inf” value must be an"),
        (FeatureFlag, "review_on", 5, "review_on: the value has a wrong type"),
        (FeatureFlag, "created_at", 5, "created_at: the value has a wrong type"),
        (FeatureFlag, "review_on", "soon", "review_on: “soon” value has an invalid date format."),
        (FeatureFlag, "oops", 1, "a flag has no field 'oops' to change"),
        (FeatureFlag, "id", 1, "a flag has no field 'id' to change"),
    ],
)
def test_invalid_field_is_refused_with_its_name(
    model: type[Any], name: str, given: object, message: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        cleaned(row_of(model, **({"value": 5} if model is KeyValueStore else {})), {name: given})
    assert str(error.value).startswith(message)


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
    assert [one for one in messages if one not in str(error.value)] == []
