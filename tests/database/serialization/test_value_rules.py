"""The rules of values in a file: exported, imported, masked, and the segments that they name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.documents import dry_run, export_text, import_problems, import_text, summaries

pytestmark = pytest.mark.django_db

KEY = "max_items"
PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
RULES = [
    {"conditions": [{"segment": "paying"}], "value": 50},
    {"conditions": [], "rollout_percent": 25, "value": 20},
]


@pytest.fixture
def ruled() -> None:
    changes.create_segment("paying", PAYING)
    changes.create_value(KEY, 10, rules=RULES, bucket_by="organization")


def stored() -> Any:
    return KeyValueStore.objects.values_list("value", "rules", "bucket_by").get(key=KEY)


def test_export_has_the_rules_and_an_import_brings_them_back(ruled: None) -> None:
    exported = export_text()
    fields = json.loads(exported)["values"][KEY]
    assert (fields["rules"], fields["bucket_by"]) == (RULES, "organization")
    assert import_text(exported).changed == {}
    changes.update_value(KEY, {"rules": [], "bucket_by": "user"})
    summary = (
        'rules no rules → rule 1: 50 if in segment "paying"; rule 2: 20 for 25 % of the others, '
        "bucketing unit user → organization"
    )
    assert summaries(dry_run(exported)) == {KEY: summary}
    import_text(exported)
    assert stored() == (10, RULES, "organization")
    changes.delete_value(KEY)
    changes.delete_segment("paying")
    import_text(exported)
    assert stored() == (10, RULES, "organization")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            "rules: [{conditions: [{segment: vip}], value: 5}]",
            "names the segment 'vip', which does",
        ),
        ("rules: [{conditions: [{segment: paying}]}]", "rule 1"),
        (
            "rules: [{conditions: [{segment: paying}], value: '5'}]\n    type: integer",
            "rule 1: the",
        ),
        ("bucket_by: groups", '"groups" cannot be the bucketing unit'),
    ],
)
@pytest.mark.parametrize("key", [KEY, "other"])
def test_import_names_rules_that_are_not_valid(
    key: str, fields: str, problem: str, ruled: None
) -> None:
    text = f"flagstaff: 1\nvalues:\n  {key}:\n    value: 10\n    {fields}\n"
    [found] = import_problems(text)
    place = f"values.{key}: "
    assert found.startswith(place)
    assert problem in found


def test_rules_of_a_secret_value_are_masked_and_an_import_keeps_them() -> None:
    changes.create_value(KEY, "hunter2", secret=True, rules=[{"conditions": PAYING, "value": "a"}])
    before, exported = stored(), export_text()
    assert "paid" not in exported
    changed = import_text(exported.replace('"description": ""', '"description": "The mail server"'))
    assert [list(change.new) for change in changed.changed.values()] == [["description"]]
    assert stored() == before
    changes.delete_value(KEY)
    [problem] = import_problems(exported)
    assert problem.startswith(f"values.{KEY}: value: is masked")


def test_import_refuses_a_value_with_the_key_of_a_flag() -> None:
    text = f"flagstaff: 1\nflags:\n  {KEY}: {{}}\nvalues:\n  {KEY}:\n    value: 10\n"
    [problem] = import_problems(text)
    assert "max_items is the key of a flag" in problem
