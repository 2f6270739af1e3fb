"""Who may give a flag to users, or take it from them, by a request."""

import json
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client

from flagstaff import acting_as, changes, experiments
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.changes import impact
from flagstaff.history import segment_version
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    act,
    asks,
    errors_of,
    flag_url,
    messages_of,
    notes_of,
    page,
    preview_of,
    production,
    question,
    restore_url,
    row_url,
    text_to_type,
    typed,
    undo_all_url,
    undo_at,
    undo_url,
)
from tests.support.conditions import condition
from tests.support.shop import Shop
from tests.support.sql import rows as execute

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

STAFF = [condition("is_staff", "in", True)]
LOGGED_IN = [condition("is_authenticated", "in", True)]
BY_SEGMENT = [{"conditions": [{"segment": "team"}]}]
NOT_COUNTED = "not counted: the time limit was reached"
# For a person who may not view users.
HIDDEN = "not counted: the rules read attributes of users, which you may not view"


@pytest.fixture(autouse=True)
def users() -> None:
    """Ten users who are not staff."""
    User.objects.bulk_create([User(username=f"user{number}") for number in range(10)])


@pytest.fixture
def team() -> Segment:
    """A segment of staff, by which a flag is on."""
    changes.segments.create("team", STAFF)
    changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
    return Segment.objects.get()


def edit(client: Client, team: Segment, conditions: object) -> Any:
    """Posts other conditions of the segment, and confirms with its key if the page asks."""
    url = row_url(team, "conditions")
    response = act(client, url, conditions=json.dumps(conditions), _typed_key="team")
    team.refresh_from_db()
    return response


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("enabled", "status"), [(True, 403), (False, 200)])
def test_right_to_add_brings_back_a_flag_for_nobody_only(
    enabled: bool, status: int, *, together: bool, shop: Shop
) -> None:
    changes.flags.create("gone", enabled=enabled, rollout_percent=100)
    changes.flags.create("other")
    with transaction.atomic():
        version = changes.flags.delete("gone").version
        changes.flags.delete("other")
    client = shop.client("olga", "add_featureflag", "view_featureflag")
    url = undo_all_url(version) if together else undo_url(version)
    assert client.post(url, {"_confirmed": "1"}).status_code == status
    assert undo_at(client, url).status_code == status
    assert FeatureFlag.objects.exists() is not enabled
    undo_at(shop.client("olga", "toggle_featureflag"), url)
    assert FeatureFlag.objects.count() == 1 + together


def test_right_to_delete_takes_no_flag_from_users(shop: Shop) -> None:
    created = changes.flags.create("live", enabled=True, rollout_percent=5).version
    client = shop.client("olga", "delete_featureflag", "view_featureflag")
    flag = FeatureFlag.objects.get()
    for url in (flag_url(flag, "delete"), undo_url(created)):
        assert client.post(url, {"_confirmed": "1"}).status_code == 403
    client.post(FLAGS, {"action": "delete", "_selected_action": flag.pk, "_reason": ""})
    assert FeatureFlag.objects.exists()
    changes.flags.disable("live")
    act(client, flag_url(flag, "delete"))
    assert not FeatureFlag.objects.exists()


@pytest.mark.parametrize("model", ["featureflag", "keyvaluestore"])
def test_right_to_change_segments_changes_no_flag_and_no_value(model: str, shop: Shop) -> None:
    changes.segments.create("team", STAFF)
    if model == "featureflag":
        changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
        row, counts = "by_team", [HIDDEN, HIDDEN]
    else:
        changes.values.create("by_team", 10, rules=[{**BY_SEGMENT[0], "value": 50}])
        row, counts = "value by_team", ["", f"another result: {HIDDEN}"]
    team, client = Segment.objects.get(), shop.client("olga", "change_segment", "view_segment")
    for named in ("1 key that you may not see", "“by_team”"):
        response = edit(client, team, LOGGED_IN)
        assert f"{named}, whose rules depend on “team”" in response.content.decode()
        assert team.conditions == STAFF
        shop.client("olga", f"view_{model}")
    client = shop.client("olga", f"change_{model}")
    assert (
        preview_of(question(client, row_url(team, "conditions"), conditions=json.dumps(LOGGED_IN)))[
            row
        ]
        == counts
    )
    edit(client, team, LOGGED_IN)
    assert team.conditions == LOGGED_IN


def test_segment_of_disabled_flags_only_needs_no_right_for_them(team: Segment, shop: Shop) -> None:
    changes.flags.disable("by_team")
    edit(shop.client("olga", "change_segment", "view_segment"), team, LOGGED_IN)
    assert team.conditions == LOGGED_IN


@pytest.mark.parametrize("page", ["undo", "undo all", "restore"])
def test_segment_comes_back_only_with_the_right_for_its_flags(
    page: str, team: Segment, shop: Shop
) -> None:
    first = segment_version("team")
    with transaction.atomic():
        version = changes.segments.update("team", {"conditions": LOGGED_IN}).version
        changes.segments.update("team", {"description": "All"})
    client = shop.client("olga", "change_segment", "view_segment")
    url = {
        "undo": undo_url(segment_version("team")),
        "undo all": undo_all_url(version),
        "restore": restore_url(first),
    }[page]
    response = client.post(url, {"_confirmed": "1"})
    [problem] = errors_of(response)
    assert problem.startswith("you need the permission to change or toggle 1 key that you may not")
    assert not asks(response)
    assert Segment.objects.get().conditions == LOGGED_IN
    client = shop.client("olga", "toggle_featureflag")
    assert preview_of(client.get(url))["by_team"] == [HIDDEN, HIDDEN]
    undo_at(client, url)
    assert Segment.objects.get().conditions == STAFF


def test_segment_in_use_whose_key_another_row_took_does_not_come_back(shop: Shop) -> None:
    changes.segments.create("team", LOGGED_IN)
    with transaction.atomic():
        changes.segments.delete("team")
        version = changes.segments.create("team", STAFF).version
    changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
    rights = ("add_segment", "change_segment", "delete_segment", "view_segment")
    response = shop.client("olga", *rights).post(undo_all_url(version), {"_confirmed": "1"})
    assert "is used by the rules of flags, values and experiments" in errors_of(response)[0]
    assert Segment.objects.get().conditions == STAFF


def test_permission_for_single_flags_decides_about_segments_and_deletions(
    team: Segment, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_change_permission(_admin: object, _request: object, obj: Any = None) -> bool:
        return obj is None or obj.owner == "us"

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", has_change_permission)
    rights = ("view_featureflag", "delete_featureflag", "change_segment", "view_segment")
    client, flag = shop.client("olga", *rights), FeatureFlag.objects.get()
    edit(client, team, LOGGED_IN)
    assert team.conditions == STAFF
    assert client.post(flag_url(flag, "delete"), {"_confirmed": "1"}).status_code == 403
    FeatureFlag.objects.update(owner="us")
    edit(client, team, LOGGED_IN)
    assert team.conditions == LOGGED_IN
    act(client, flag_url(flag, "delete"))
    assert not FeatureFlag.objects.exists()


def test_right_to_add_segments_fills_no_gap_in_rules(team: Segment, shop: Shop) -> None:
    execute("DELETE FROM flagstaff_segment")
    data = {"key": "team", "conditions": json.dumps(LOGGED_IN)}
    act(shop.client("olga", "add_segment"), f"{SEGMENTS}add/", **data)
    assert not Segment.objects.exists()
    act(shop.client("olga", "toggle_featureflag"), f"{SEGMENTS}add/", **data)
    assert Segment.objects.exists()


# What the question about a segment shows.


def test_segment_asks_with_a_row_for_each_use_and_different_users(
    operator: Client, team: Segment
) -> None:
    staff = {"conditions": STAFF, "rollout_percent": 0}
    changes.flags.create("also", enabled=True, rules=[*BY_SEGMENT, staff])
    changes.flags.create("disabled", rules=BY_SEGMENT)
    experiments.create("price", rules=BY_SEGMENT)
    experiments.start("price")
    response = question(operator, row_url(team, "conditions"), conditions=json.dumps(LOGGED_IN))
    counts = ["1 of 11", "11 of 11"]
    assert preview_of(response) == {
        "also": counts,
        "by_team": counts,
        "disabled": ["off", "off"],
        "experiment price": ["", "another result: 10 of 11"],
    }
    assert notes_of(response)[0] == "10 different users gain or lose something."
    assert Segment.objects.get().conditions == STAFF


def test_segment_says_what_its_change_means_for_a_flag_that_is_off(
    operator: Client, team: Segment
) -> None:
    changes.flags.disable("by_team")
    url = row_url(team, "conditions")
    edited = typed(operator, url, conditions=json.dumps(LOGGED_IN)) | {"_edit": "preview"}
    assert notes_of(operator.post(url, edited)) == [
        (
            "Users in the segment: 1 of 11 → 11 of 11. 1 flag that uses it is off, and reaches "
            "these users when it is turned on."
        )
    ]


def test_undo_of_a_segment_says_what_it_means_for_a_flag_that_is_off(
    operator: Client, team: Segment
) -> None:
    changes.flags.disable("by_team")
    with acting_as("ana"):
        changed = changes.segments.update(team.key, {"conditions": LOGGED_IN})
    [note] = notes_of(operator.get(undo_url(changed.version)))
    assert note.startswith("Users in the segment: 11 of 11 → 1 of 11. 1 flag that uses it is off")


@pytest.mark.parametrize("is_deleted", [False, True])
def test_undo_does_not_speak_of_a_flag_off_that_loses_its_rules_with_it(
    operator: Client, is_deleted: bool
) -> None:
    changes.flags.create("by_team")
    if not is_deleted:
        changes.segments.create("team", STAFF)
    with acting_as("ana"), transaction.atomic():
        if is_deleted:
            changes.segments.create("team", STAFF)
        else:
            changes.segments.update("team", {"conditions": LOGGED_IN})
        changed = changes.flags.update("by_team", {"rules": BY_SEGMENT})
    notes = notes_of(operator.get(undo_all_url(changed.version)))
    assert "Users in the segment" not in " ".join(notes)


def test_receipt_of_a_segment_names_the_flags_that_the_user_may_see(
    operator: Client, team: Segment, shop: Shop
) -> None:
    [message] = messages_of(edit(operator, team, LOGGED_IN))
    assert "10 different users gain a flag. by_team: 1 of 11 → 11 of 11." in message
    client = shop.client("olga", "change_segment", "view_segment", "toggle_featureflag")
    [message] = messages_of(edit(client, team, STAFF))
    assert "was changed" in message
    assert "by_team" not in message


@pytest.mark.parametrize(
    ("changed", "key"),
    [(LOGGED_IN, "team"), ([*LOGGED_IN, condition("groups", "in", "beta")], "")],
    ids=["most", "few"],
)
def test_segment_in_production_types_its_key_if_most_users_gain(
    changed: Any, key: str, operator: Client, team: Segment, settings: Any
) -> None:
    production(settings)
    beta = Group.objects.create(name="beta")
    beta.user_set.add(*User.objects.filter(username__in=["user1", "user2"]))
    response = question(operator, row_url(team, "conditions"), conditions=json.dumps(changed))
    assert (asks(response), text_to_type(response)) == (True, key)
    url, text = row_url(team, "conditions"), json.dumps(changed)
    act(operator, url, conditions=text, _typed_key="x")
    assert (Segment.objects.get().conditions == changed) is not bool(key)
    edit(operator, team, changed)
    assert team.conditions == changed


def test_segment_that_cannot_be_counted_in_time_says_so_and_types_its_key(
    operator: Client, team: Segment, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    production(settings)
    monkeypatch.setattr(impact, "monotonic", iter([0, *[1_000] * 99]).__next__)
    response = question(
        operator, row_url(team, "conditions"), conditions=json.dumps([*STAFF, *LOGGED_IN])
    )
    assert preview_of(response) == {"by_team": [NOT_COUNTED, NOT_COUNTED]}
    assert notes_of(response) == ["The users cannot be counted."]
    assert text_to_type(response) == "team"


def test_undo_of_several_segments_counts_all_of_them_at_once(
    operator: Client, team: Segment
) -> None:
    keys = ["team", "team1", "team2"]
    for key in keys[1:]:
        changes.segments.create(key, STAFF)
        changes.flags.create(f"by_{key}", enabled=True, rules=[{"conditions": [{"segment": key}]}])
    both = [{"conditions": [{"segment": key}]} for key in keys[:2]]
    changes.flags.create("by_two", enabled=True, rules=both)
    for key in keys:
        changes.segments.update(key, {"conditions": LOGGED_IN})
    versions = [changes.segments.update(key, {"conditions": STAFF}).version for key in keys]
    response = operator.get(undo_url(*versions))
    flags = ["by_two", *(f"by_{key}" for key in keys)]
    assert preview_of(response) == {flag: ["1 of 11", "11 of 11"] for flag in flags}
    assert notes_of(response)[-1] == "10 different users gain a flag."


def test_undo_of_a_segment_asks_with_its_uses_and_types_its_key(
    operator: Client, team: Segment, settings: Any
) -> None:
    changes.segments.update("team", {"conditions": LOGGED_IN})
    url = undo_url(changes.segments.update("team", {"conditions": STAFF}).version)
    production(settings)
    response = operator.get(url)
    assert text_to_type(response) == "team"
    assert "10 different users gain a flag." in notes_of(response)
    assert preview_of(response) == {"by_team": ["1 of 11", "11 of 11"]}
    for text, after in (("", STAFF), ("team", LOGGED_IN)):
        undo_at(operator, url, _typed_key=text)
        assert Segment.objects.get().conditions == after


# What a person may not see.


def test_pages_count_the_members_of_the_groups_that_they_name(operator: Client) -> None:
    beta = Group.objects.create(name="beta")
    beta.user_set.add(*User.objects.filter(username__in=["user1", "user2"]))
    named = [condition("groups", "in", "beta", "none")]
    changes.segments.create("team", named)
    changes.flags.create("by_group", rules=[{"conditions": named}])
    for row in (Segment.objects.get(), FeatureFlag.objects.get()):
        html = page(operator, row_url(row))
        assert "Groups: “beta” has 2 members, “none” has 0 members." in html


def test_undo_refused_by_a_flag_that_the_user_may_not_see_does_not_name_it(shop: Shop) -> None:
    version = changes.segments.create("team", STAFF).version
    changes.flags.create("by_team", rules=BY_SEGMENT)
    client = shop.client("olga", "delete_segment", "view_segment")
    for named in ("flags, values and experiments that you may not see", "'by_team'"):
        html = unescape(page(client, undo_url(version)))
        assert f"the segment 'team' is used by the rules of {named}; change these" in html
        client.post(undo_url(version), {"_confirmed": "1"})
        assert Segment.objects.exists()
        shop.client("olga", "view_featureflag")


def test_flags_that_the_user_may_not_see_are_a_number(team: Segment, shop: Shop) -> None:
    experiments.create("price", rules=BY_SEGMENT)
    client = shop.client("olga", "change_segment", "view_segment", "toggle_featureflag")
    assert "1 flag, 1 experiment" in page(client, row_url(team))
    rows = preview_of(
        question(client, row_url(team, "conditions"), conditions=json.dumps(LOGGED_IN))
    )
    assert rows["flags, values and experiments that you may not see"] == ["1", "1"]
    assert "experiment price" not in rows
    html = page(shop.client("olga", "delete_segment"), row_url(team, "delete"))
    assert "by the rules of flags, values and experiments that you may not see" in html
