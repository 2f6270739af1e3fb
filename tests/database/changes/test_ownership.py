"""The owner, the tags and the review date of a flag: changes, the history, undo and restore."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flagstaff import changes
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.models import FeatureFlag
from tests.support.history import flag_history
from tests.support.sql import rows

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "mobile"],
    "review_on": date(2027, 3, 1),
}
NOT_OWNED: dict[str, Any] = {"owner": "", "tags": [], "review_on": None}


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key=KEY, **OWNED)


def forget_columns() -> None:
    rows("UPDATE flagstaff_change SET old = old - ARRAY['owner', 'tags', 'review_on']")


def stored() -> dict[str, Any]:
    return dict(FeatureFlag.objects.values(*OWNED).get())


def test_flag_is_created_and_updated_with_an_owner_tags_and_a_review_date() -> None:
    rows("INSERT INTO flagstaff_featureflag (key) VALUES (%s)", KEY)
    assert stored() == NOT_OWNED
    FeatureFlag.objects.all().delete()
    changes.flags.create(KEY, **OWNED)
    assert stored() == OWNED
    assert not changes.flags.update(KEY, OWNED).written
    new = {"owner": "search", "tags": ["q3"], "review_on": date(2027, 1, 1)}
    for fields in (new, NOT_OWNED):
        assert changes.flags.update(KEY, fields).written
        assert stored() == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tags": ["a,b"]}, 'tags: the tag "a,b" contains a comma; write two tags'),
        ({"tags": {}}, "tags: the tags are not a list"),
        ({"owner": "x" * 101}, "owner: Ensure this value has at most 100 characters"),
        ({"review_on": "soon"}, "review_on: “soon” value has an invalid date format."),
        ({"review_on": 5}, "review_on: the value has a wrong type"),
        ({"rollout_percent": 33.9}, "rollout_percent: “33.9” value must be an integer."),
    ],
)
def test_unusable_field_is_refused(flag: FeatureFlag, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidChangeError) as error:
        changes.flags.update(KEY, fields)
    assert str(error.value).startswith(message)
    assert stored() == OWNED
    with pytest.raises(InvalidChangeError) as error:
        changes.flags.create("other", **fields)
    assert str(error.value).startswith(message)


def test_flag_with_unusable_tags_can_be_changed(flag: FeatureFlag) -> None:
    rows("UPDATE flagstaff_featureflag SET tags = %s::jsonb", '{"a": 1}')
    assert changes.flags.update(KEY, {"enabled": True}).written
    assert changes.flags.update(KEY, {"tags": ["a"]}).written


@COMMITTED
def test_history_describes_the_three_fields(flag: FeatureFlag) -> None:
    changes.flags.update(KEY, {"owner": "search", "tags": ["q3"], "review_on": None})
    FeatureFlag.objects.update(owner="web")
    of_sql, changed, created, *_ = map(describe_change, flag_history(KEY))
    assert of_sql == 'owner "search" → "web"'
    assert changed == (
        'owner "payments" → "search", tags ["checkout", "mobile"] → ["q3"], '
        'review on "2027-03-01" → null'
    )
    assert created == (
        'created, kind "release", owner "payments", tags ["checkout", "mobile"], '
        'review on "2027-03-01"'
    )
