"""Segments that the rules of values name: shown, and counted before a change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.changes.consequence import Consequence, consequence_of, impact_text, use_texts
from flagstaff.changes.impact import impact
from flagstaff.changes.row_states import RowState
from flagstaff.history.kinds import Kind
from flagstaff.models import Change, KeyValueStore, Segment
from tests.support.conditions import condition
from tests.support.documents import import_text
from tests.support.shop import STAFF
from tests.support.terminals import document

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]

NOBODY = [STAFF, condition("is_staff", "in", False)]


def rules(segment: str) -> list[dict[str, Any]]:
    last = {"conditions": [], "rollout_percent": 1, "value": 10}
    return [{"name": "team", "conditions": [{"segment": segment}], "value": 50}, last]


@pytest.fixture(autouse=True)
def value() -> KeyValueStore:
    """A value whose rules name the segment "team", for 3 of 10 users."""
    # Entries of earlier tests may have the same primary keys.
    Change.objects.all().delete()
    User.objects.all().delete()
    User.objects.bulk_create(
        User(pk=one + 1, username=f"u{one}", is_staff=one < 3) for one in range(10)
    )
    changes.segments.create("team", [STAFF])
    changes.values.create("max_items", 10, rules=rules("team"))
    return KeyValueStore.objects.get()


def test_import_deletes_a_segment_together_with_the_value_that_uses_it() -> None:
    import_text("flagstaff: 1\nsegments: {}\nvalues: {}", delete_missing=True)
    assert not Segment.objects.exists()


def test_segment_show_names_the_value() -> None:
    found = document("segment", "show", "team")
    assert (found["flags"], found["values"], found["experiments"]) == ([], ["max_items"], [])


def test_change_of_a_segment_counts_the_users_who_get_another_value() -> None:
    now = RowState(Kind.SEGMENT, Segment.objects.get())
    found = impact([now], [now.after({"conditions": NOBODY})])
    [use] = found.uses
    assert (use.label(), use.kind) == ("value max_items", Kind.VALUE)
    assert use_texts(found, use) == ("", "another result: 3 of 10")
    assert (found.changed, consequence_of(found)) == (3, Consequence.MORE)
    assert impact_text(found) == "3 different users gain or lose something."


def test_change_of_a_segment_that_changes_no_value_has_no_consequence() -> None:
    KeyValueStore.objects.update(value=50, rules=rules("team")[:1])
    now = RowState(Kind.SEGMENT, Segment.objects.get())
    found = impact([now], [now.after({"conditions": NOBODY})])
    assert consequence_of(found) is Consequence.NONE
    assert impact_text(found) == "No user gains or loses anything."


def test_changes_of_a_segment_and_of_the_value_that_uses_it_are_counted_together() -> None:
    segment = Segment.objects.get()
    before = [RowState(Kind.SEGMENT, segment), RowState(Kind.VALUE, KeyValueStore.objects.get())]
    after = [before[0].after({"conditions": NOBODY}), before[1].after({"value": 50})]
    assert impact(before, after)[Kind.VALUE, "max_items"].changed == 7
