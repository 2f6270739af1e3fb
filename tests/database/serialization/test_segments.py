"""Segments and rules in a file: exported, imported, deleted, and named by each other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagstaff import acting_as, changes, serialization
from flagstaff.exceptions import ConflictError
from flagstaff.history import segment_version
from flagstaff.history.kinds import Kind
from flagstaff.models import Change, FeatureFlag, Segment
from tests.support.documents import (
    dry_run,
    export_text,
    import_problems,
    import_text,
    summaries,
)
from tests.support.history_fixtures import undo_transaction

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid", "012", 1.5, True]}]
LARGE = [{"attribute": "seats", "operator": "gte", "values": [100]}]
NAMING = [{"name": "été", "conditions": [{"segment": "enterprise"}], "rollout_percent": 25}]

# The segment, before the flag that names it.
SEGMENT = """\
flagstaff: 1
segments:
  enterprise:
    conditions:
      - attribute: plan
        operator: in
        values:
          - paid
          - "012"
          - 1.5
          - true
    description: ''
"""
RULES = """\
    rules:
      - name: été
        conditions:
          - segment: enterprise
        rollout_percent: 25
"""


def state() -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules of the flags, and the conditions of the segments."""
    flags = FeatureFlag.objects.values_list("key", "rules")
    return dict(flags), dict(Segment.objects.values_list("key", "conditions"))


@pytest.fixture
def stored() -> None:
    changes.create_segment("enterprise", PAYING)
    changes.create("new_checkout", rules=NAMING)


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
    with acting_as("deploy", source="command"):
        imported = import_text(f"{SEGMENT}flags:\n  new_checkout:\n{RULES}")
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
        "new_checkout": 'rules "été": 25 % if in segment "enterprise" → rule 1: 100 % if '
        'not in segment "small"',
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
    """
    [problem] = import_problems(text)
    assert problem.startswith(
        "flags.a: rules: rule 2 (\"beta\") names the segment 'gone', which does not exist"
    )


def test_unchanged_rules_that_name_no_segment_are_no_problem() -> None:
    FeatureFlag.objects.create(key="a", rules=NAMING)
    assert import_text(export_text()).changed == {}


def test_invalid_rules_and_conditions_are_problems_with_their_place(stored: None) -> None:
    text = """\
        flagstaff: 1
        segments:
          enterprise:
            conditions: []
          small:
            conditions: [{attribute: seats, operator: below, values: [5]}]
          large: {}
        flags:
          a:
            rules: [{name: beta, conditions: [{attribute: plan}]}]
          new_checkout:
            rules: null
    """
    starts = (
        'flags.a: rules: rule 1 ("beta"), condition 1: the member "operator" is missing',
        "flags.new_checkout: rules: the rules must be a list, not null",
        "segments.enterprise: conditions: there are no conditions, which would include",
        "segments.large: conditions: the conditions must be a list, not null",
        'segments.small: conditions: condition 1: the operator "below" is not known',
    )
    for problem, start in zip(import_problems(text), starts, strict=True):
        assert problem.startswith(start)


def test_file_without_the_section_leaves_segments(stored: None) -> None:
    text = "flagstaff: 1\nflags: {new_checkout: {enabled: true}}"
    imported = import_text(text, delete_missing=True)
    assert [key for _, key in imported.changed] == ["new_checkout"]
    assert Segment.objects.exists()


def test_versions_of_segments_are_compared(stored: None) -> None:
    exported = export_text(versions=True).replace('"attribute": "plan"', '"attribute": "tariff"')
    changes.update_segment("enterprise", {"conditions": LARGE})
    with pytest.raises(ConflictError, match="enterprise has version"):
        import_text(exported)
    assert import_text(exported, ignore_versions=True).changed


def test_missing_segment_is_deleted_after_the_flags_that_named_it(stored: None) -> None:
    Segment.objects.create(key="large", conditions=LARGE)
    text = "flagstaff: 1\nsegments: {}\nflags: {new_checkout: {rules: []}}"
    imported = import_text(text, delete_missing=True)
    assert [key for _, key in imported.changed] == ["new_checkout", "enterprise", "large"]
    assert state() == ({"new_checkout": []}, {})


def test_segments_and_flags_that_name_them_are_deleted_together(stored: None) -> None:
    import_text("flagstaff: 1\nsegments: {}\nflags: {}", delete_missing=True)
    assert state() == ({}, {})


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
    # Also rules of flags outside the file.
    FeatureFlag.objects.create(key="search", rules=NAMING)
    [problem] = import_problems("flagstaff: 1\nsegments: {}", delete_missing=True)
    assert problem == f"{place} 'new_checkout', 'search'; change these rules first"
