"""Segments and rules in a file: exported, imported, deleted, masked, and named by each other."""

import json
from typing import Any

import pytest

from flagstaff import acting_as, changes, serialization
from flagstaff._tables.rows import Kind
from flagstaff.history import segment_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.documents import dry_run, export_text, import_problems, import_text, summaries
from tests.support.history_fixtures import undo_transaction

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid", "012", 1.5, True]}]
LARGE = [{"attribute": "seats", "operator": "gte", "values": [100]}]
NAMING = [{"name": "été", "conditions": [{"segment": "enterprise"}], "rollout_percent": 25}]


def state() -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules of the flags, and the conditions of the segments."""
    flags = FeatureFlag.objects.values_list("key", "rules")
    return dict(flags), dict(Segment.objects.values_list("key", "conditions"))


@pytest.fixture
def stored() -> None:
    changes.segments.create("enterprise", PAYING)
    changes.flags.create("new_checkout", rules=NAMING)


def test_export_has_segments_before_the_flags_that_name_them(stored: None) -> None:
    document = json.loads(export_text())
    assert [*document] == ["flagstaff", "segments", "flags", "values"]
    assert document["segments"] == {"enterprise": {"conditions": PAYING, "description": ""}}
    assert document["flags"]["new_checkout"]["rules"] == NAMING


def test_export_has_the_segment_of_a_key_and_versions(stored: None) -> None:
    segment = {"conditions": PAYING, "description": ""}
    document = serialization.export(["enterprise"])
    assert document == {"flagstaff": 1, "partial": True, "segments": {"enterprise": segment}}
    document = serialization.export(versions=True)
    assert document["segments"]["enterprise"]["version"] == segment_version("enterprise")


@pytest.mark.django_db(transaction=True)
def test_import_of_new_segments_and_flags_has_one_event_for_each_and_an_undo() -> None:
    Change.objects.all().delete()
    document = {
        "flagstaff": 1,
        "segments": {"enterprise": {"conditions": PAYING}},
        "flags": {"new_checkout": {"rules": NAMING}},
    }
    with acting_as("deploy", source="command"):
        imported = import_text(json.dumps(document))
    assert [*imported.changed] == [(Kind.SEGMENT, "enterprise"), (Kind.FLAG, "new_checkout")]
    assert state() == ({"new_checkout": NAMING}, {"enterprise": PAYING})
    entries = Change.objects.filter(key__in=("enterprise", "new_checkout"), actor="deploy")
    assert set(entries.values_list("relation", "source")) == {("s", "command"), ("f", "command")}
    assert imported.undo
    *_, change = imported.undo.arguments
    undo_transaction(int(change))
    assert state() == ({}, {})


def test_plan_describes_conditions_and_rules_in_sentences(stored: None) -> None:
    text = """
        flagstaff: 1
        segments:
          enterprise: {conditions: [{attribute: seats, operator: gte, values: [100]}]}
          small: {conditions: [{attribute: seats, operator: lt, values: [5], negate: true}]}
        flags:
          new_checkout: {rules: [{conditions: [{segment: small, negate: true}]}]}
    """
    assert summaries(dry_run(text)) == {
        "enterprise": 'conditions plan is "paid" or "012" or 1.5 or true → seats is at least 100',
        "small": "created, conditions seats is not less than 5",
        "new_checkout": 'rules "été": 25 % if in segment "enterprise" → '
        'rule 1: 100 % if not in segment "small"',
    }


def test_rule_may_name_a_segment_of_the_database(stored: None) -> None:
    import_text("flagstaff: 1\nflags: {a: {rules: [{conditions: [{segment: enterprise}]}]}}")
    assert state()[0]["a"] == [{"conditions": [{"segment": "enterprise"}]}]


def test_rule_that_names_no_segment_is_refused_with_its_place(stored: None) -> None:
    text = """\
        flagstaff: 1
        flags:
          a:
            rules:
              - conditions: [{segment: enterprise}]
              - {name: beta, conditions: [{segment: gone}, {segment: lost}, {segment: gone}]}
        values:
          limit: {value: 1, rules: [{conditions: [{segment: vip}], value: 5}]}
    """
    flag, value = import_problems(text)
    place = "flags.a: rules: rule 2 (\"beta\") names the segment 'gone', which does not exist"
    assert flag.startswith(place)
    assert value.startswith("values.limit: rules: rule 1 names the segment 'vip', which does not")


def test_unchanged_rules_that_name_no_segment_are_no_problem() -> None:
    FeatureFlag.objects.create(key="a", rules=NAMING)
    assert import_text(export_text()).changed == {}


def test_missing_segment_is_deleted_after_the_flags_that_named_it(stored: None) -> None:
    Segment.objects.create(key="large", conditions=LARGE)
    text = "flagstaff: 1\nsegments: {}\nflags: {new_checkout: {rules: []}}"
    # A file without the section leaves the segments.
    planned = dry_run(text.replace("segments: {}\n", ""), delete_missing=True)
    assert [key for _, key in planned.changed] == ["new_checkout"]
    imported = import_text(text, delete_missing=True)
    assert [key for _, key in imported.changed] == ["new_checkout", "enterprise", "large"]
    assert state() == ({"new_checkout": []}, {})


def test_deletion_of_a_segment_that_rules_name_is_refused(stored: None) -> None:
    text = """\
        flagstaff: 1
        segments: {}
        flags:
          a: {rules: [{conditions: [{segment: enterprise}]}]}
          new_checkout: {rules: []}
    """
    [problem] = import_problems(text, delete_missing=True)
    place = "segments.enterprise: the segment 'enterprise' is used by the rules of"
    assert problem == f"{place} 'a'; change these rules first"


KEY = "max_items"
VALUE_RULES = [
    {"conditions": [{"segment": "enterprise"}], "value": 50},
    {"conditions": [], "rollout_percent": 25, "value": 20},
]


def value_row() -> Any:
    return KeyValueStore.objects.values_list("value", "rules", "bucket_by").get(key=KEY)


def test_rules_of_a_value_are_exported_and_an_import_brings_them_back() -> None:
    changes.segments.create("enterprise", PAYING)
    changes.values.create(KEY, 10, rules=VALUE_RULES, bucket_by="organization")
    before, exported = value_row(), export_text()
    changes.values.update(KEY, {"rules": [], "bucket_by": "user"})
    summary = (
        'rules added rule 1: 50 if in segment "enterprise"; added rule 2: 20 for 25 % of the '
        "others, bucketing unit user → organization"
    )
    assert summaries(import_text(exported)) == {KEY: summary}
    assert value_row() == before
    changes.values.delete(KEY)
    changes.segments.delete("enterprise")
    import_text(exported)
    assert value_row() == before


def test_choices_and_rules_of_a_secret_value_are_masked_and_an_import_keeps_them() -> None:
    rules = [{"conditions": PAYING, "value": "swordfish"}]
    changes.values.create(
        KEY, "hunter2", secret=True, choices=["hunter2", "swordfish"], rules=rules
    )
    stored = KeyValueStore.objects.values("value", "choices", "rules", "secret")
    before, exported = stored.get(), export_text()
    for word in ("hunter2", "swordfish", "paid"):
        assert word not in exported
    changed = import_text(exported.replace('"description": ""', '"description": "The mail server"'))
    assert [[*(change.new or ())] for change in changed.changed.values()] == [["description"]]
    assert stored.get() == before
    changes.values.delete(KEY)
    [problem] = import_problems(exported)
    assert problem.startswith(f"values.{KEY}: value: is masked, and there is no such value")
