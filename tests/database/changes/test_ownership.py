"""The owner, the tags and the review date of a flag: changes, the history, undo and restore."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest
from django.db import connection, models

from flagstaff.changes import create, delete, restore, undo, update
from flagstaff.changes.fields import validate
from flagstaff.conf import Conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import flag_history, flag_version
from flagstaff.history.describe import describe_change
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of

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


def stored() -> dict[str, Any]:
    return dict(FeatureFlag.objects.values(*OWNED).get())


def events() -> list[str]:
    return [describe_change(event) for event in flag_history(KEY)]


# Changes.


def test_flag_is_created_with_an_owner_tags_and_a_review_date() -> None:
    create(KEY, **OWNED)
    assert stored() == OWNED


def test_flag_that_plain_sql_has_created_has_no_owner() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO flagstaff_featureflag (key) VALUES ('a')")
    assert stored() == NOT_OWNED


def test_update_sets_all_three(flag: FeatureFlag) -> None:
    new = {"owner": "search", "tags": ["q3"], "review_on": date(2027, 1, 1)}
    assert update(KEY, new).written
    assert stored() == new


def test_update_clears_all_three(flag: FeatureFlag) -> None:
    update(KEY, NOT_OWNED)
    assert stored() == NOT_OWNED


def test_update_to_the_same_fields_writes_nothing(flag: FeatureFlag) -> None:
    assert not update(KEY, OWNED).written


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tags": ["a,b"]}, 'tags: the tag "a,b" contains a comma; write two tags'),
        ({"tags": {}}, "tags: the tags are not a list"),
        ({"tags": None}, "tags: the tags are not a list"),
        ({"owner": "x" * 101}, "owner: Ensure this value has at most 100 characters"),
        ({"review_on": "2027-03-01"}, "review_on: this is not a date; pass a datetime.date"),
        (
            {"review_on": datetime(2027, 3, 1, tzinfo=timezone.utc)},
            "review_on: this is not a date; pass a datetime.date",
        ),
    ],
)
def test_unusable_field_is_refused(flag: FeatureFlag, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidChangeError) as error:
        update(KEY, fields)
    assert str(error.value).startswith(message)
    assert stored() == OWNED
    with pytest.raises(InvalidChangeError):
        create("other", **fields)


def test_flag_with_unusable_tags_can_be_changed(flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET tags = '{\"a\": 1}'")
    assert update(KEY, {"enabled": True}).written


def test_flag_with_tags_that_python_cannot_decode_can_be_changed(flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET tags = %s::jsonb", [f"[{'9' * 5000}]"])
    assert update(KEY, {"enabled": True}).written
    assert update(KEY, {"tags": ["a"]}).written


# The history.


@COMMITTED
def test_history_describes_the_three_fields(flag: FeatureFlag) -> None:
    update(KEY, {"owner": "search", "tags": ["q3"], "review_on": None})
    changed, created, *_ = events()
    assert changed == (
        'owner "payments" → "search", tags ["checkout", "mobile"] → ["q3"], '
        'review_on "2027-03-01" → null'
    )
    assert created == (
        'created, kind "release", owner "payments", tags ["checkout", "mobile"], '
        'review_on "2027-03-01"'
    )


@COMMITTED
def test_history_of_plain_sql_has_the_new_fields(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(owner="search")
    assert events()[0] == 'owner "payments" → "search"'


@COMMITTED
def test_undo_brings_the_three_fields_back(flag: FeatureFlag) -> None:
    update(KEY, NOT_OWNED)
    undo(KEY)
    assert stored() == OWNED


@COMMITTED
def test_undo_keeps_a_newer_change_of_another_field(flag: FeatureFlag) -> None:
    version = update(KEY, {"tags": []}).version
    update(KEY, {"owner": "search"})
    undo(KEY, version)
    assert stored() == {**OWNED, "owner": "search"}


@COMMITTED
def test_undo_of_tags_that_are_newer_is_a_conflict(flag: FeatureFlag) -> None:
    version = update(KEY, {"tags": []}).version
    update(KEY, {"tags": ["q3"]})
    with pytest.raises(ConflictError):
        undo(KEY, version)


@COMMITTED
def test_restore_brings_back_an_earlier_state(flag: FeatureFlag) -> None:
    version = flag_version(KEY)
    update(KEY, NOT_OWNED)
    update(KEY, {"owner": "search"})
    assert version is not None
    restore(KEY, to=version)
    assert stored() == OWNED


@COMMITTED
def test_undo_of_a_deletion_brings_the_three_fields_back(flag: FeatureFlag) -> None:
    delete(KEY)
    undo(KEY)
    assert stored() == OWNED


@COMMITTED
def test_undo_of_a_deletion_before_the_columns_existed_sets_their_defaults(
    flag: FeatureFlag,
) -> None:
    delete(KEY)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_change SET old = old - ARRAY['owner', 'tags', 'review_on']"
            " WHERE action = 'delete'"
        )
    undo(KEY)
    assert stored() == NOT_OWNED


@COMMITTED
def test_restore_of_a_version_before_the_columns_existed_keeps_them(flag: FeatureFlag) -> None:
    version = flag_version(KEY)
    update(KEY, {"enabled": True})
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_change SET old = old - ARRAY['owner', 'tags', 'review_on']"
            " WHERE action = 'update'"
        )
    assert version is not None
    restore(KEY, to=version)
    assert stored() == OWNED


# A project's own model.


def test_field_of_a_project_with_one_of_the_names_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = flag_fields(
        tags=models.JSONField(default=dict), review_on=models.DateTimeField(null=True)
    )
    model = model_of("Switch", fields)
    monkeypatch.setattr(Conf, "flag_model", model)
    validate(model(key="a"), "tags", {"any": "thing"})
    validate(model(key="a"), "review_on", datetime(2027, 3, 1, tzinfo=timezone.utc))
