"""Segments and rules in a file: exported, imported, deleted, and named by each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagstaff import acting_as, changes, serialization
from flagstaff.conf import Conf
from flagstaff.exceptions import ConflictError, FlagstaffError, UnknownSegmentError
from flagstaff.history import segment_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.documents import (
    BOTH_FORMATS,
    Format,
    diff_text,
    export_text,
    import_problems,
    import_text,
    summaries,
)
from tests.support.models_of_others import flag_fields, model_of

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid", "012", 1.5, True]}]
LARGE = [{"attribute": "seats", "operator": "gte", "values": [100]}]
NAMING = [{"name": "été", "conditions": [{"segment": "enterprise"}], "rollout_percent": 25}]

# The export of a flag, with a rule, and of the segment that it names.
FILE = """\
# Flags, values and segments, written by `manage.py flags export`.
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
flags:
  new_checkout:
    enabled: false
    rollout_percent: 0
    bucket_by: user
    rules:
      - name: été
        conditions:
          - segment: enterprise
        rollout_percent: 25
    description: ''
    kind: release
    client_side: false
    owner: ''
    tags: []
    review_on: null
    allowed_users: []
values: {}
"""
# Only the segment.
SEGMENT = FILE.partition("flags:\n")[0]


def delete_everything() -> None:
    FeatureFlag.objects.all().delete()
    Segment.objects.all().delete()


def state() -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules of the flags, and the conditions of the segments."""
    flags = FeatureFlag.objects.values_list("key", "rules")
    return dict(flags), dict(Segment.objects.values_list("key", "conditions"))


@pytest.fixture
def stored() -> None:
    changes.create_segment("enterprise", PAYING)
    changes.create("new_checkout", rules=NAMING)


# Export.


def test_export_has_segments_before_the_flags_that_name_them(stored: None) -> None:
    assert export_text() == FILE


def test_export_of_a_segment_by_key_has_only_the_segment(stored: None) -> None:
    document = serialization.export(["enterprise"])
    assert document == {
        "flagstaff": 1,
        "partial": True,
        "segments": {"enterprise": {"conditions": PAYING, "description": ""}},
    }


def test_export_with_versions_has_those_of_segments(stored: None) -> None:
    document = serialization.export(versions=True)
    assert document["segments"]["enterprise"]["version"] == segment_version("enterprise")


def test_export_of_an_unknown_key_suggests_a_segment(stored: None) -> None:
    with pytest.raises(UnknownSegmentError, match="did you mean 'enterprise'"):
        serialization.export(["enterprize"])


def test_export_of_rules_that_python_cannot_decode_names_the_flag(stored: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_featureflag SET rules = (repeat('[', 600) || repeat(']', 600))::jsonb"
        )
    with pytest.raises(FlagstaffError) as error:
        serialization.export()
    assert str(error.value) == (
        "the flag 'new_checkout' cannot be exported: the JSON of its rules is nested deeper than "
        "500 levels; replace its rules"
    )


# Import.


@BOTH_FORMATS
def test_imported_export_restores_segments_and_rules(stored: None, format_: Format) -> None:
    before, exported = state(), export_text(format_)
    assert import_text(exported, format_).plan.steps == ()
    delete_everything()
    imported = import_text(exported, format_)
    assert state() == before
    assert [(one.kind, one.key) for one in imported.plan.steps] == [
        ("segment", "enterprise"),
        ("flag", "new_checkout"),
    ]


@pytest.mark.django_db(transaction=True)
def test_undo_of_an_import_deletes_new_segments_and_flags() -> None:
    with acting_as("deploy"):
        imported = import_text(FILE)
    assert imported.undo
    *_, change = imported.undo.arguments
    changes.undo_transaction(int(change))
    assert state() == ({}, {})


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
) | st.sampled_from(["no", "0o17", "1:30", ".inf", "- a", "# b", "a\n b\n", " trailing \n"])
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
CONDITION = st.fixed_dictionaries(
    {
        "attribute": TEXTS.filter(bool),
        "operator": st.just("in"),
        "values": st.lists(SCALARS, min_size=1, max_size=3),
    },
    optional={"negate": st.booleans()},
)


@BOTH_FORMATS
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(conditions=st.lists(CONDITION, min_size=1, max_size=3), name=TEXTS.filter(bool))
def test_imported_export_restores_any_texts_and_numbers(
    format_: Format, conditions: list[Any], name: str
) -> None:
    delete_everything()
    Segment.objects.create(key="enterprise", conditions=conditions)
    FeatureFlag.objects.create(key="a", rules=[{"name": name, "conditions": conditions}])
    before, exported = state(), export_text(format_)
    delete_everything()
    import_text(exported, format_)
    assert state() == before
    assert export_text(format_) == exported


def test_plan_describes_conditions_and_rules_in_sentences(stored: None) -> None:
    text = """
        flagstaff: 1
        segments:
          enterprise: {conditions: [{attribute: seats, operator: gte, values: [100]}]}
          small: {conditions: [{attribute: seats, operator: lt, values: [5], negate: true}]}
        flags:
          new_checkout: {rules: [{conditions: [{segment: small, negate: true}]}]}
    """
    assert summaries(diff_text(text)) == {
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
    advice = "is neither in the file nor in the database; add it to the section `segments`"
    assert import_problems(text) == [
        f"line 4: flags.a.rules: rule 2 (\"beta\") names the segment 'gone', which {advice}",
        f"line 4: flags.a.rules: rule 2 (\"beta\") names the segment 'lost', which {advice}",
    ]


def test_unchanged_rules_that_name_no_segment_are_no_problem() -> None:
    FeatureFlag.objects.create(key="a", rules=NAMING)
    assert import_text(export_text()).plan.steps == ()


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
    known = "is not known to this version; use "
    problems = import_problems(text)
    assert problems[1].startswith(
        f'line 6: segments.small.conditions: condition 1: the operator "below" {known}'
    )
    assert problems[:1] + problems[2:] == [
        (
            "line 4: segments.enterprise.conditions: there are no conditions, which would include "
            "everyone; add at least one"
        ),
        "line 7: segments.large.conditions: is required for a new segment",
        (
            'line 10: flags.a.rules: rule 1 ("beta"), condition 1: the member "operator" is '
            "missing; add it"
        ),
        "line 12: flags.new_checkout.rules: the rules must be a list, not null",
    ]


def test_ambiguous_value_of_a_condition_is_not_repeated() -> None:
    text = """
        flagstaff: 1
        segments:
          a: {conditions: [{attribute: birthday, operator: in, values: [1970-01-01]}]}
    """
    [problem, *_] = import_problems(text)
    assert "this text without quotes is ambiguous in YAML" in problem
    assert "1970" not in problem


def test_file_without_the_section_leaves_segments(stored: None) -> None:
    text = "flagstaff: 1\nflags: {new_checkout: {enabled: true}}"
    assert [step.key for step in import_text(text, delete_missing=True).plan.steps] == [
        "new_checkout"
    ]
    assert Segment.objects.exists()


def test_versions_of_segments_are_compared(stored: None) -> None:
    exported = export_text(versions=True).replace("attribute: plan", "attribute: tariff")
    changes.update_segment("enterprise", {"conditions": LARGE})
    with pytest.raises(ConflictError, match="enterprise has version"):
        import_text(exported)
    assert import_text(exported, ignore_versions=True).plan.steps


def test_import_of_many_flags_that_name_segments_makes_few_queries(stored: None) -> None:
    def queries(count: int) -> int:
        flags = {f"flag_{number}_of_{count}": {"rules": NAMING} for number in range(count)}
        with CaptureQueriesContext(connection) as captured:
            import_text(json.dumps({"flagstaff": 1, "flags": flags}), "json")
        return len(captured)

    assert queries(50) == queries(2)


# Deletions.


def test_missing_segment_is_deleted_after_the_flags_that_named_it(stored: None) -> None:
    Segment.objects.create(key="large", conditions=LARGE)
    text = "flagstaff: 1\nsegments: {}\nflags: {new_checkout: {rules: []}}"
    imported = import_text(text, delete_missing=True)
    assert [(step.action, step.key) for step in imported.plan.steps] == [
        ("delete", "enterprise"),
        ("delete", "large"),
        ("change", "new_checkout"),
    ]
    assert [one.key for one in imported.changed] == ["enterprise", "large", "new_checkout"]
    assert state() == ({"new_checkout": []}, {})


def test_segments_and_flags_that_name_them_are_deleted_together(stored: None) -> None:
    import_text("flagstaff: 1\nsegments: {}\nflags: {}", delete_missing=True)
    assert state() == ({}, {})


def test_deletion_of_a_segment_that_a_flag_outside_the_file_names_is_refused(stored: None) -> None:
    FeatureFlag.objects.create(key="search", rules=NAMING)
    text = "flagstaff: 1\nsegments:"
    assert import_problems(text, delete_missing=True) == [
        (
            "line 2: segments: the file does not have 'enterprise', so --delete-missing would "
            "delete it, but the rules of 'new_checkout', 'search' name it; add it, or change "
            "these rules"
        )
    ]


def test_new_rules_that_name_a_segment_to_delete_are_refused(stored: None) -> None:
    text = """\
        flagstaff: 1
        segments: {}
        flags:
          a: {rules: [{conditions: [{segment: enterprise}]}]}
          new_checkout: {rules: []}
    """
    assert import_problems(text, delete_missing=True) == [
        (
            "line 4: flags.a.rules: rule 1 names the segment 'enterprise', which --delete-missing "
            "would delete, because the file does not have it; add it to the section `segments`"
        )
    ]


# Other projects.


def test_segments_are_imported_without_a_column_for_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    Segment.objects.create(key="large", conditions=LARGE)
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))
    document = serialization.read(SEGMENT, "yaml")
    assert not document.problems.found


@pytest.fixture
def without_segment_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_segment RENAME TO elsewhere")


def test_export_without_the_segment_table_has_no_section(without_segment_table: None) -> None:
    assert serialization.export(versions=True) == {"flagstaff": 1, "flags": {}, "values": {}}


def test_import_of_segments_without_their_table_says_so(without_segment_table: None) -> None:
    document = serialization.read(SEGMENT, "yaml")
    with pytest.raises(FlagstaffError) as error:
        serialization.apply(document)
    assert (
        "line 3: segments: this database has no table of segments; "
        'run "manage.py migrate", or remove the section' in str(error.value)
    )


def test_import_without_segments_works_without_their_table(without_segment_table: None) -> None:
    text = "flagstaff: 1\nsegments: {}\nflags: {a: {enabled: true}}\nvalues: {b: {value: 1}}"
    import_text(text, delete_missing=True)
    assert FeatureFlag.objects.get().enabled
    assert KeyValueStore.objects.get().value == 1


def test_import_is_one_event_for_each_segment_and_flag() -> None:
    # The history is not flushed between tests.
    Change.objects.all().delete()
    with acting_as("deploy", source="command"):
        import_text(FILE)
    entries = Change.objects.filter(key__in=("enterprise", "new_checkout"), actor="deploy")
    assert set(entries.values_list("relation", "actor", "source")) == {
        ("s", "deploy", "command"),
        ("f", "deploy", "command"),
    }
