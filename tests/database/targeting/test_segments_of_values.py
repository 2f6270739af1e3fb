"""Segments that the rules of values name: kept, and counted before a change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from flagstaff.changes.change_plan import plan_segment_changes
from flagstaff.changes.segment_plan import plan_segments

from flagstaff import changes
from flagstaff.changes.consequence import Consequence
from flagstaff.exceptions import DocumentError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.models import Change, KeyValueStore, Segment
from tests.support.conditions import condition
from tests.support.documents import import_text
from tests.support.terminals import document

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]

STAFF = [condition("is_staff", "in", True)]
NOBODY = [*STAFF, condition("is_staff", "in", False)]


def rules(segment: str) -> list[dict[str, Any]]:
    last = {"conditions": [], "rollout_percent": 1, "value": 10}
    return [{"name": "team", "conditions": [{"segment": segment}], "value": 50}, last]


@pytest.fixture(autouse=True)
def value() -> KeyValueStore:
    """A value whose rules name the segment "team", for 3 of 10 users."""
    # Entries of earlier tests may have the same primary keys.
    Change.objects.all().delete()
    User.objects.all().delete()
    User.objects.bulk_create(User(username=f"u{one}", is_staff=one < 3) for one in range(10))
    changes.create_segment("team", STAFF)
    changes.create_value("max_items", 10, rules=rules("team"))
    return KeyValueStore.objects.get()


def rules_now() -> object:
    return KeyValueStore.objects.get().rules


def message_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InvalidChangeError) as error:
        call(*arguments, **options)
    return str(error.value)


def test_segment_of_a_value_is_not_deleted() -> None:
    used = "the segment 'team' is used by the rules of value 'max_items'; change these rules first"
    assert message_of(changes.delete_segment, "team") == used
    with transaction.atomic():
        assert message_of(Segment.objects.get().delete) == used
    changes.update_value("max_items", {"rules": []})
    assert changes.delete_segment("team").written


def test_rules_of_a_value_name_segments_that_exist() -> None:
    assert "the segment 'nobody', which does not exist" in message_of(
        changes.update_value, "max_items", {"rules": rules("nobody")}
    )


def test_import_does_not_delete_the_segment_of_a_value() -> None:
    with pytest.raises(DocumentError, match="used by the rules of value 'max_items'"):
        import_text("flagstaff: 1\nsegments: {}", delete_missing=True)
    import_text("flagstaff: 1\nsegments: {}\nvalues: {}", delete_missing=True)
    assert not Segment.objects.exists()


def test_segment_show_names_the_value() -> None:
    found = document("segment", "show", "team")
    assert (found["flags"], found["values"], found["experiments"]) == ([], ["max_items"], [])


def test_change_of_a_segment_counts_the_users_who_get_another_value() -> None:
    plan = plan_segments({"team": (STAFF, NOBODY)})
    assert plan is not None
    [(use, impact)] = plan.counts.items()
    assert (use.label, use.kind, impact and impact.users) == ("value max_items", Kind.VALUE, 10)
    assert plan.sides(use) == ("another value: 3 of 10", "another value: 0 of 10")
    assert (plan.impact.changed, plan.consequence) == (3, Consequence.WIDENS)
    assert plan.text == "3 different users gain or lose something."


def test_change_of_a_segment_that_changes_no_value_has_no_consequence() -> None:
    KeyValueStore.objects.update(value=50, rules=rules("team")[:1])
    plan = plan_segments({"team": (STAFF, NOBODY)})
    assert plan is not None
    assert (plan.consequence, plan.text) == (Consequence.NONE, "No user gains or loses anything.")


def test_change_for_most_users_is_the_largest_consequence() -> None:
    plan = plan_segments({"team": (STAFF, [condition("is_staff", "in", True, False)])})
    assert plan is not None
    assert plan.consequence is Consequence.WIDENS_TO_MOST


def test_undo_that_changes_the_value_itself_does_not_count_its_users() -> None:
    segment = changes.update_segment("team", {"conditions": NOBODY})
    value = changes.set_value("max_items", 12)
    plan = plan_segment_changes([(Kind.SEGMENT, segment), (Kind.VALUE, value)])
    assert plan is not None
    [use] = plan.uses
    assert plan.sides(use)[1] == "not counted: this undo also changes the value"
