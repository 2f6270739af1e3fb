"""Who may give a flag to users, or take it from them, by a request."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.changes import impact as impact_module
from flagstaff.history import segment_version
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    act,
    asks,
    confirmed,
    errors_of,
    flag_url,
    notes_of,
    page,
    permit,
    preview_of,
    production,
    restore_url,
    staff,
    text_to_type,
    typed,
    undo_all_url,
    undo_at,
    undo_url,
)
from tests.support.conditions import condition
from tests.support.sql import rows as execute

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
LOGGED_IN = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
EXCLUDING = [{"conditions": STAFF, "rollout_percent": 0}]
BY_SEGMENT = [{"conditions": [{"segment": "team"}]}]


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


ONE_USER = "1 user loses something."
NOT_COUNTED = "not counted: the time limit was reached"
# For a person who may not view users.
HIDDEN = "not counted: the rules read attributes of users, which you may not view"


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No users can be counted in time."""
    monkeypatch.setattr(impact_module, "monotonic", iter([0, *[1_000] * 99]).__next__)


def may(*permissions: str) -> None:
    """Grants more permissions to the user of the client."""
    permit(User.objects.get(username="staff"), *permissions)


def confirm(client: Client, url: str, data: dict[str, Any] | None = None) -> Any:
    """Posts a form, confirms with the key if a page asks, and follows."""
    response = client.post(url, {} if data is None else data, follow=True)
    if not asks(response):
        return response
    return client.post(url, confirmed(response, _typed_key=text_to_type(response)), follow=True)


def segment_url(segment: Segment, view: str = "change") -> str:
    return f"{SEGMENTS}{segment.pk}/{view}/"


def edit_segment(
    client: Client, segment: Segment, conditions: object, key: str | None = None
) -> Any:
    """Posts other conditions of a segment; with a key to type, confirms the page that asks."""
    url, text = segment_url(segment, "conditions"), json.dumps(conditions)
    if key is not None:
        return act(client, url, conditions=text, _typed_key=key)
    return client.post(url, typed(client, url, conditions=text), follow=True)


def conditions() -> object:
    return Segment.objects.get().conditions


# Flags.


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("enabled", "status"), [(True, 403), (False, 200)])
def test_right_to_add_brings_back_a_flag_for_nobody_only(
    enabled: bool, status: int, *, together: bool
) -> None:
    changes.flags.create("gone", enabled=enabled, rollout_percent=100)
    changes.flags.create("other")
    with transaction.atomic():
        version = changes.flags.delete("gone").version
        changes.flags.delete("other")
    client = staff("add_featureflag", "view_featureflag")
    url = undo_all_url(version) if together else undo_url(version)
    assert client.post(url, {"_confirmed": "1"}).status_code == status
    assert undo_at(client, url).status_code == status
    assert FeatureFlag.objects.exists() is not enabled
    may("toggle_featureflag")
    undo_at(client, url)
    assert FeatureFlag.objects.count() == 1 + together


def test_right_to_delete_takes_no_flag_from_users() -> None:
    created = changes.flags.create("live", enabled=True, rollout_percent=5).version
    client = staff("delete_featureflag", "view_featureflag")
    flag = FeatureFlag.objects.get()
    action = {"action": "delete", "_selected_action": flag.pk, "_reason": ""}
    for url, data in (
        (flag_url(flag, "delete"), {"post": "yes"}),
        (undo_url(created), {"_confirmed": "1"}),
    ):
        assert client.post(url, data).status_code == 403
    client.post(FLAGS, action)
    assert FeatureFlag.objects.exists()
    changes.flags.disable("live")
    assert confirm(client, flag_url(flag, "delete")).redirect_chain
    assert not FeatureFlag.objects.exists()


def test_question_of_allow_counts_the_users(operator: Client, settings: Any) -> None:
    production(settings)
    changes.flags.create("beta", enabled=True, allowed_users=User.objects.order_by("pk")[:2])
    url = flag_url(FeatureFlag.objects.get(), "allow")
    names = ",".join(f"user{number}" for number in range(10))
    response = operator.post(url, typed(operator, url, users=names))
    assert notes_of(response) == ["8 users gain the flag. Afterwards 10 of 11 users have it."]


# Segments.


@pytest.mark.parametrize("model", ["featureflag", "keyvaluestore"])
def test_right_to_change_segments_changes_no_flag_and_no_value(model: str) -> None:
    changes.segments.create("team", STAFF)
    if model == "featureflag":
        changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
        row, now = "by_team", HIDDEN
    else:
        changes.values.create("by_team", 10, rules=[{**BY_SEGMENT[0], "value": 50}])
        row, now = "value by_team", ""
    team, client = Segment.objects.get(), staff("change_segment", "view_segment")
    for shown in ("1 key that you may not see", "“by_team”"):
        response = edit_segment(client, team, LOGGED_IN, "team")
        assert f"{shown}, whose rules use the segment “team”" in response.content.decode()
        assert conditions() == STAFF
        may(f"view_{model}")
    act(client, segment_url(team, "details"), description="The team")
    assert Segment.objects.get().description == "The team"
    may(f"change_{model}")
    after = HIDDEN if now else f"another result: {HIDDEN}"
    assert preview_of(edit_segment(client, team, LOGGED_IN))[row] == [now, after]
    edit_segment(client, team, LOGGED_IN, "team")
    assert conditions() == LOGGED_IN


def test_segment_of_disabled_flags_only_needs_no_right_for_them(team: Segment) -> None:
    changes.flags.disable("by_team")
    edit_segment(staff("change_segment", "view_segment"), team, LOGGED_IN, "")
    assert conditions() == LOGGED_IN


@pytest.mark.parametrize("page", ["undo", "undo all", "restore"])
def test_segment_comes_back_only_with_the_right_for_its_flags(page: str, team: Segment) -> None:
    first = segment_version("team")
    with transaction.atomic():
        version = changes.segments.update("team", {"conditions": LOGGED_IN}).version
        changes.segments.update("team", {"description": "All"})
    newest = segment_version("team")
    client = staff("change_segment", "view_segment")
    url = {
        "undo": undo_url(newest),
        "undo all": undo_all_url(version),
        "restore": restore_url(first),
    }[page]
    response = client.post(url, {"_confirmed": "1"})
    assert "1 key that you may not see, whose rules use the segment" in response.content.decode()
    assert conditions() == LOGGED_IN
    may("toggle_featureflag")
    undo_at(client, url)
    assert conditions() == STAFF


def test_segment_in_use_whose_key_another_row_took_does_not_come_back() -> None:
    changes.segments.create("team", LOGGED_IN)
    with transaction.atomic():
        changes.segments.delete("team")
        version = changes.segments.create("team", STAFF).version
    changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
    client = staff("add_segment", "change_segment", "delete_segment", "view_segment")
    response = client.post(undo_all_url(version), {"_confirmed": "1"})
    assert "is used by the rules of flags, values and experiments" in errors_of(response)[0]
    assert Segment.objects.get(key="team").conditions == STAFF


def test_permission_for_single_flags_decides_about_segments_and_deletions(
    team: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_change_permission(_admin: object, _request: object, obj: Any = None) -> bool:
        return obj is None or obj.owner == "us"

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", has_change_permission)
    client = staff("view_featureflag", "delete_featureflag", "change_segment", "view_segment")
    edit_segment(client, team, LOGGED_IN, "")
    flag = FeatureFlag.objects.get()
    assert client.post(flag_url(flag, "delete"), {"post": "yes"}).status_code == 403
    assert conditions() == STAFF
    FeatureFlag.objects.update(owner="us")
    edit_segment(client, team, LOGGED_IN, "")
    assert conditions() == LOGGED_IN
    assert confirm(client, flag_url(flag, "delete")).redirect_chain


def test_right_to_add_segments_fills_no_gap_in_rules() -> None:
    changes.segments.create("team", STAFF)
    changes.flags.create("by_team", enabled=True, rules=BY_SEGMENT)
    execute("DELETE FROM flagstaff_segment")
    client = staff("add_segment")
    data = {"key": "team", "conditions": json.dumps(LOGGED_IN)}
    act(client, f"{SEGMENTS}add/", **data)
    assert not Segment.objects.exists()
    may("toggle_featureflag")
    act(client, f"{SEGMENTS}add/", **data)
    assert Segment.objects.exists()


def test_segment_asks_with_a_row_for_each_use_and_different_users(
    operator: Client, team: Segment
) -> None:
    changes.flags.create("also", enabled=True, rules=[*BY_SEGMENT, *EXCLUDING])
    changes.flags.create("disabled", rules=BY_SEGMENT)
    experiments.create("price", rules=BY_SEGMENT)
    experiments.start("price")
    response = edit_segment(operator, team, LOGGED_IN)
    counts = ["1 of 11", "11 of 11"]
    assert preview_of(response) == {
        "also": counts,
        "by_team": counts,
        "disabled": ["off", "off"],
        "experiment price": ["", "another result: 10 of 11"],
    }
    assert notes_of(response)[-1] == "10 different users gain or lose something."
    assert conditions() == STAFF
    edit_segment(operator, team, LOGGED_IN, "")
    assert conditions() == LOGGED_IN


def test_user_who_gains_one_flag_and_loses_another_is_counted_once(
    operator: Client, team: Segment
) -> None:
    without = [{"conditions": [{"segment": "team", "negate": True}]}]
    changes.flags.create("others", enabled=True, rules=without)
    response = edit_segment(operator, team, [{**STAFF[0], "values": [False]}])
    rows = preview_of(response)
    assert rows["by_team"] == ["1 of 11", "10 of 11"]
    assert rows["others"] == ["10 of 11", "1 of 11"]
    assert notes_of(response) == ["11 different users gain or lose something."]


def test_segment_that_cannot_be_counted_in_time_says_so_and_types_its_key(
    operator: Client, team: Segment, settings: Any, no_time: None
) -> None:
    production(settings)
    response = edit_segment(operator, team, [*STAFF, *LOGGED_IN])
    assert preview_of(response) == {"by_team": [NOT_COUNTED, NOT_COUNTED]}
    assert notes_of(response) == ["The users cannot be counted."]
    assert text_to_type(response) == "team"


@pytest.mark.parametrize(
    ("changed", "key", "note"),
    [
        (LOGGED_IN, "team", "10 different users gain something."),
        ([condition("is_authenticated", "in", False)], "team", ONE_USER),
        ([condition("plan", "in", "paid")], "team", f"{ONE_USER} Not all could be counted."),
        (
            [*LOGGED_IN, condition("groups", "in", "beta")],
            "",
            "3 different users gain or lose something.",
        ),
        ([condition("groups", "in", "none")], "", ONE_USER),
    ],
    ids=["most", "anonymous", "not counted", "few", "fewer"],
)
def test_segment_in_production_types_its_key_for_the_largest_consequence(  # noqa: PLR0913, PLR0917
    changed: Any, key: str, note: str, operator: Client, team: Segment, settings: Any
) -> None:
    production(settings)
    beta = Group.objects.create(name="beta")
    beta.user_set.add(*User.objects.filter(username__in=["user1", "user2"]))
    Group.objects.create(name="none")
    response = edit_segment(operator, team, changed)
    assert (asks(response), text_to_type(response)) == (True, key)
    assert notes_of(response)[0] == note
    edit_segment(operator, team, changed, "x")
    assert (conditions() == changed) is not bool(key)
    edit_segment(operator, team, changed, "team")
    assert conditions() == changed


def open_undo(client: Client, page: str, *versions: int | None) -> Any:
    """Opens a page that undoes several changes of "team": by their versions, or together."""
    return client.get(undo_all_url(versions[-1]) if page == "all" else undo_url(*versions))


def narrow(*keys: str) -> list[int | None]:
    """Narrows segments from all users in one transaction. Returns the versions."""
    for key in keys:
        if not Segment.objects.filter(key=key).exists():
            changes.segments.create(key, STAFF)
        changes.segments.update(key, {"conditions": LOGGED_IN})
    with transaction.atomic():
        return [changes.segments.update(key, {"conditions": STAFF}).version for key in keys]


undo_pages = pytest.mark.parametrize("page", ["some", "all"])


@undo_pages
def test_undo_of_several_segments_counts_all_of_them_at_once(
    page: str, operator: Client, team: Segment
) -> None:
    keys = ["team", "team1", "team2", "team3"]
    versions = narrow(*keys)
    for key in keys[1:]:
        changes.flags.create(f"by_{key}", enabled=True, rules=[{"conditions": [{"segment": key}]}])
    both = [{"conditions": [{"segment": key}]} for key in keys[:2]]
    changes.flags.create("by_two", enabled=True, rules=both)
    response = open_undo(operator, page, *versions)
    flags = ["by_two", *(f"by_{key}" for key in keys)]
    assert preview_of(response) == {flag: ["1 of 11", "11 of 11"] for flag in flags}
    assert notes_of(response)[-1] == "10 different users gain something."


@undo_pages
def test_undo_of_several_changes_without_the_right_shows_why_and_no_button(
    page: str, team: Segment
) -> None:
    versions = narrow("team", "other")
    client = staff("change_segment", "view_segment")
    response = open_undo(client, page, *versions)
    [problem] = errors_of(response)
    assert problem.startswith("you need the permission to change or toggle 1 key")
    assert not asks(response)
    may("toggle_featureflag")
    response = open_undo(client, page, *versions)
    assert preview_of(response) == {"by_team": [HIDDEN, HIDDEN]}
    assert errors_of(response) == []


@undo_pages
def test_undo_of_several_changes_that_cannot_be_counted_types_as_for_most_users(
    page: str, operator: Client, team: Segment, settings: Any, no_time: None
) -> None:
    production(settings)
    response = open_undo(operator, page, *narrow("team", "other"))
    assert preview_of(response) == {"by_team": [NOT_COUNTED, NOT_COUNTED]}
    assert notes_of(response)[-1] == "The users cannot be counted."
    assert text_to_type(response) == "Production"


@undo_pages
def test_flag_that_the_same_undo_changes_is_counted(
    page: str, operator: Client, team: Segment
) -> None:
    changes.segments.update("team", {"conditions": LOGGED_IN})
    with transaction.atomic():
        versions = [changes.flags.disable("by_team").version]
        versions.append(changes.segments.update("team", {"conditions": STAFF}).version)
    counts = ["0 of 11", "11 of 11"]
    assert preview_of(open_undo(operator, page, *versions)) == {"by_team": counts}


def test_undo_of_a_segment_asks_with_its_uses_and_types_its_key(
    operator: Client, team: Segment, settings: Any
) -> None:
    changes.segments.update("team", {"conditions": LOGGED_IN})
    version = changes.segments.update("team", {"conditions": STAFF}).version
    production(settings)
    url = undo_url(version)
    response = operator.get(url)
    html = response.content.decode()
    assert text_to_type(response) == "team"
    assert "10 different users gain something." in notes_of(response)
    assert ("by_team" in html, "11 of 11" in html) == (True, True)
    for wrong, after in (("", STAFF), ("team", LOGGED_IN)):
        undo_at(operator, url, _typed_key=wrong)
        assert conditions() == after


def test_pages_count_the_members_of_the_groups_that_they_name(operator: Client) -> None:
    beta = Group.objects.create(name="beta")
    beta.user_set.add(*User.objects.filter(username__in=["user1", "user2"]))
    named = [{"attribute": "groups", "operator": "in", "values": ["beta", "none"]}]
    changes.segments.create("team", named)
    changes.flags.create("by_group", rules=[{"conditions": named}])
    for url in (segment_url(Segment.objects.get()), flag_url(FeatureFlag.objects.get())):
        html = operator.get(url).content.decode()
        assert "Groups: “beta” has 2 members, “none” has 0 members." in html


def test_undo_refused_by_a_flag_that_the_user_may_not_see_does_not_name_it() -> None:
    version = changes.segments.create("team", STAFF).version
    changes.flags.create("by_team", rules=BY_SEGMENT)
    client = staff("delete_segment", "view_segment")
    for shown in ("flags, values and experiments that you may not see", "'by_team'"):
        html = unescape(page(client, undo_url(version)))
        assert f"the segment 'team' is used by the rules of {shown}; change these" in html
        client.post(undo_url(version), {"_confirmed": "1"})
        assert Segment.objects.exists()
        may("view_featureflag")


def test_flags_that_the_user_may_not_see_are_a_number(team: Segment) -> None:
    experiments.create("price", rules=BY_SEGMENT)
    client = staff("change_segment", "view_segment", "toggle_featureflag")
    html = client.get(segment_url(team)).content.decode()
    assert "1 flag, 1 experiment" in html
    rows = preview_of(edit_segment(client, team, LOGGED_IN))
    assert rows["flags, values and experiments that you may not see"] == ["1", "1"]
    assert "experiment price" not in rows
    may("delete_segment")
    html = page(client, segment_url(team, "delete"))
    assert "by the rules of flags, values and experiments that you may not see" in html
