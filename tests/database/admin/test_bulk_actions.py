"""The actions of the list of flags that change or export several flags."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    confirmed,
    messages_of,
    page,
    problems_of,
    production,
    staff,
    text_to_type,
    undo_urls,
)
from tests.support.history import flag_history
from tests.support.sql import statements_of
from tests.support.stale_flags import collect_usage, evaluate, serve

pytestmark = pytest.mark.django_db

NONE = "\N{EN DASH}"
STAFF_RULE = {
    "conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}],
    "rollout_percent": 100,
}


@pytest.fixture
def flags() -> list[FeatureFlag]:
    """Two flags that are on, and one that is off."""
    return [FeatureFlag.objects.create(key=key, enabled=key != "c") for key in "abc"]


def act(client: Client, action: str, flags: Iterable[FeatureFlag], **data: Any) -> Any:
    """Posts an action, as the list does."""
    pks = [str(flag.pk) for flag in flags]
    return client.post(FLAGS, {"action": action, "_selected_action": pks, **data}, follow=True)


def confirm(client: Client, action: str, flags: Iterable[FeatureFlag], **data: Any) -> Any:
    """Posts an action and the page that confirms it, with these fields."""
    shown = act(client, action, flags)
    assert asks(shown), messages_of(shown)
    return client.post(FLAGS, confirmed(shown, **data), follow=True)


def turn_off(client: Client, flags: Iterable[FeatureFlag], **data: Any) -> Any:
    return act(client, "turn_off", flags, **data)


def cells(response: Any) -> list[tuple[str, ...]]:
    """Returns the rows of a page that asks: the key and the cells."""
    rows = re.findall(r'<tr>\s*<th scope="row">(.*?)</tr>', response.content.decode(), re.DOTALL)
    return [tuple(re.split(r"(?:</t[dh]>\s*(?:<td[^>]*>)?)+", row.strip())[:-1]) for row in rows]


def actions_of(html: str) -> list[str]:
    return [
        name for name in re.findall(r'<option value="(\w+)">', html) if name != "delete_selected"
    ]


def enabled() -> list[str]:
    """Returns the keys of the flags that are on."""
    return list(FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True))


def test_action_asks_with_the_states_now_and_after_and_its_form_turns_off(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags)
    html = response.content.decode()
    rows = re.findall(
        r'<th scope="row">(\w)</th>\s*<td[^>]*>([^<]*)</td>\s*<td[^>]*>([^<]*)<', html
    )
    assert rows == [
        ("a", "on for no users", "off"),
        ("b", "on for no users", "off"),
        ("c", "off", "already off"),
    ]
    assert "Turn off 2 flags?" in html
    assert ">Turn off 2 flags</button>" in html
    assert enabled() == ["a", "b"]
    data = confirmed(turn_off(operator, flags[:1]))
    response = operator.post(f"{FLAGS}?q=a", data)
    assert response.headers["location"] == f"{FLAGS}?q=a"
    assert enabled() == ["b"]


def test_confirmed_action_turns_flags_off_with_the_reason(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags, _confirmed="1", _reason="an incident")
    done, already = messages_of(response)
    assert done.startswith("2 flags are now off: a, b.")
    assert already == "1 flag was already off: c."
    assert enabled() == []
    events = [flag_history(key)[0] for key in "ab"]
    assert {(event.reason, event.source) for event in events} == {("an incident", "admin")}
    assert len({event.transaction_id for event in events}) == 1
    assert LogEntry.objects.count() == 2


def test_flags_that_are_all_off_or_too_many_need_no_confirmation(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags[2:])
    assert messages_of(response) == ["Nothing was changed: all selected flags are already off."]
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n}", enabled=True) for n in range(99))
    response = turn_off(operator, FeatureFlag.objects.all(), select_across="1")
    assert messages_of(response) == [
        "Nothing was changed: select at most 100 flags at once, then the others."
    ]


def test_failure_changes_no_flag(
    operator: Client, flags: list[FeatureFlag], monkeypatch: pytest.MonkeyPatch
) -> None:
    disable = changes.flags.disable

    def fail_at_b(key: str) -> changes.Changed:
        if key == "b":
            raise FlagstaffError("b is refused")
        return disable(key)

    monkeypatch.setattr(changes.flags, "disable", fail_at_b)
    response = turn_off(operator, flags, _confirmed="1")
    assert messages_of(response) == ["Not saved: b is refused"]
    assert enabled() == ["a", "b"]


def test_action_needs_the_permission_to_toggle(viewer: Client, flags: list[FeatureFlag]) -> None:
    assert 'value="turn_off"' not in page(viewer)
    turn_off(viewer, flags, _confirmed="1")
    assert enabled() == ["a", "b"]
    toggler = staff("toggle_featureflag", name="toggler")
    assert 'value="delete_selected"' not in page(toggler)
    turn_off(toggler, flags, _confirmed="1")
    assert enabled() == []


def test_number_is_typed_in_production(
    operator: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    production(settings)
    html = turn_off(operator, flags, _confirmed="1", _typed_key="3").content.decode()
    assert "Not confirmed: type “2” exactly." in html
    assert enabled() == ["a", "b"]
    turn_off(operator, flags, _confirmed="1", _typed_key="2")
    assert enabled() == []


# The other actions.


def test_turning_on_shows_the_states_and_the_users_who_gain_each_flag(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    alice = User.objects.create_user("alice")
    User.objects.create_user("bob", is_staff=True)
    User.objects.filter(username="admin").update(is_staff=False)
    FeatureFlag.objects.create(key="d", rollout_percent=100)
    changes.flags.create("e", rules=[STAFF_RULE], allowed_users=[alice])
    changes.flags.create("f", bucket_by="visitor", rollout_percent=50)
    User.objects.filter(username="admin").update(is_staff=True, is_superuser=True)
    response = act(operator, "turn_on", FeatureFlag.objects.all())
    assert cells(response) == [
        ("a", "on for no users", "already on", NONE),
        ("b", "on for no users", "already on", NONE),
        ("c", "off", "on for no users", "0 of 3"),
        ("d", "off", "on for all", "3 of 3"),
        ("e", "off", "by rules", "3 of 3"),
        ("f", "off", "50 % of visitors", "0 of 3; rules on visitor are not counted"),
    ]
    assert "Turn on 4 flags?" in response.content.decode()
    assert ">Turn on 4 flags</button>" in response.content.decode()
    assert enabled() == ["a", "b"]


def test_flags_are_turned_on_in_one_transaction_with_one_undo(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    FeatureFlag.objects.create(key="d")
    response = confirm(operator, "turn_on", FeatureFlag.objects.all(), _reason="launch")
    done, already = messages_of(response)
    assert done.startswith("2 flags are now on: c, d.")
    assert already == "2 flags were already on: a, b."
    assert enabled() == ["a", "b", "c", "d"]
    events = [flag_history(key)[0] for key in "cd"]
    assert {(event.reason, event.source) for event in events} == {("launch", "admin")}
    assert len({event.transaction_id for event in events}) == 1
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert enabled() == ["a", "b"]


def test_flag_that_was_changed_since_the_page_is_shown_again_before_it_is_turned_on(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    FeatureFlag.objects.create(key="d")
    shown = confirmed(act(operator, "turn_on", FeatureFlag.objects.all()), _reason="launch")
    changes.flags.set_rollout("c", 100)
    response = operator.post(FLAGS, shown)
    [problem] = problems_of(response)
    assert "have changed since the page was shown: c." in problem
    assert ("c", "off", "on for all", "1 of 1") in cells(response)
    assert "launch" in response.content.decode()
    assert enabled() == ["a", "b"]
    operator.post(FLAGS, confirmed(response))
    assert enabled() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("action", ["turn_on", "turn_off", "set_owner"])
def test_flag_that_was_deleted_meanwhile_is_named_and_the_others_are_written(
    operator: Client, flags: list[FeatureFlag], action: str
) -> None:
    FeatureFlag.objects.create(key="d")
    shown = confirmed(act(operator, action, FeatureFlag.objects.all()), owner="web")
    changes.flags.delete("d")
    changes.flags.delete("a")
    texts = messages_of(operator.post(FLAGS, shown, follow=True))
    assert texts[-1] == "2 selected flags no longer exist: a, d."
    written = {"turn_on": "1 flag is now on: c.", "turn_off": "1 flag is now off: b."}
    assert texts[0].startswith(written.get(action, "2 flags were changed: b, c."))


def test_selected_flag_that_left_the_filter_of_the_list_is_still_shown(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    url = f"{FLAGS}?enabled__exact=0"
    pks = [str(flag.pk) for flag in flags]
    response = operator.post(url, {"action": "turn_on", "_selected_action": pks})
    assert [row[0] for row in cells(response)] == ["a", "b", "c"]


def test_number_of_flags_to_turn_on_is_typed_in_production(
    operator: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.create(key="d")
    shown = act(operator, "turn_on", FeatureFlag.objects.all())
    assert text_to_type(shown) == "2"
    assert "type “2” exactly" in problems_of(operator.post(FLAGS, confirmed(shown)))[0]
    assert enabled() == ["a", "b"]
    operator.post(FLAGS, confirmed(shown, _typed_key="2"))
    assert enabled() == ["a", "b", "c", "d"]


def test_owner_is_set_and_an_equal_one_is_not_written(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    FeatureFlag.objects.filter(key="a").update(owner="web")
    shown = act(operator, "set_owner", flags)
    assert cells(shown) == [("a", "web"), ("b", NONE), ("c", NONE)]
    response = operator.post(FLAGS, confirmed(shown, owner="web"), follow=True)
    done, already = messages_of(response)
    assert done.startswith("2 flags were changed: b, c.")
    assert already == "1 flag already had these values: a."
    assert set(FeatureFlag.objects.values_list("owner", flat=True)) == {"web"}
    log = LogEntry.objects.filter(object_repr="b").get()
    assert "owner" in log.get_change_message()
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert FeatureFlag.objects.filter(owner="web").count() == 1


def test_owner_that_is_too_long_is_an_error_of_the_field(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = confirm(operator, "set_owner", flags, owner="x" * 101)
    assert "at most 100 characters" in response.content.decode()
    assert not FeatureFlag.objects.exclude(owner="").exists()


def test_tags_are_added_to_and_removed_from_what_each_flag_has(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    FeatureFlag.objects.filter(key="a").update(tags=["x", "y"])
    confirm(operator, "add_tags", flags, tags="y, z")
    tags = dict(FeatureFlag.objects.values_list("key", "tags"))
    assert tags == {"a": ["x", "y", "z"], "b": ["y", "z"], "c": ["y", "z"]}
    shown = act(operator, "remove_tags", flags)
    choices = re.findall(r'name="tags" value="(\w)"', shown.content.decode())
    assert choices == ["x", "y", "z"]
    operator.post(FLAGS, {**confirmed(shown), "tags": ["x", "z"]})
    assert set(map(tuple, FeatureFlag.objects.values_list("tags", flat=True))) == {("y",)}


def test_tags_that_would_be_lost_or_too_many_change_nothing(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    FeatureFlag.objects.filter(key="b").update(tags={"odd": True})
    response = confirm(operator, "add_tags", flags, tags="new")
    assert "the tags of “b” would not be valid" in problems_of(response)[0]
    FeatureFlag.objects.filter(key="b").update(tags=[f"t{n}" for n in range(20)])
    response = confirm(operator, "add_tags", flags, tags="new")
    assert "the tags of “b” would not be valid" in problems_of(response)[0]
    assert FeatureFlag.objects.get(key="a").tags == []


def test_review_date_is_set_after_a_period_to_a_date_or_to_none(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    today = timezone.localdate()

    def set_date(**data: str) -> Any:
        response = confirm(operator, "set_review_date", flags[:1], **data)
        return response, FeatureFlag.objects.get(key="a").review_on

    assert set_date(period="30")[1] == today + timedelta(days=30)
    assert set_date(period="30", until="2099-01-31")[1] == date(2099, 1, 31)
    response, kept = set_date(period="30", until=today.isoformat())
    assert "Choose a date in the future." in response.content.decode()
    assert kept == date(2099, 1, 31)
    assert set_date(period="none")[1] is None


def test_reason_is_required_to_change_flags(
    operator: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    response = confirm(operator, "set_owner", flags, owner="web")
    assert "A reason is required." in problems_of(response)[0]


# Who has which actions.

TOGGLING = ["turn_on", "turn_off"]
CHANGING = ["set_owner", "add_tags", "remove_tags", "set_review_date"]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ("view", ["export_csv"]),
        ("toggle", [*TOGGLING, "export_csv"]),
        ("change", [*TOGGLING, *CHANGING, "export_csv"]),
    ],
)
def test_actions_need_their_permission(
    flags: list[FeatureFlag], permission: str, expected: list[str]
) -> None:
    client = staff(f"{permission}_featureflag")
    assert actions_of(page(client)) == expected
    for action in {*TOGGLING, *CHANGING} - {*expected}:
        assert not asks(act(client, action, flags, _confirmed="1", owner="web"))
    assert not FeatureFlag.objects.filter(owner="web").exists()


def test_read_only_pages_have_the_export_only(
    operator: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert actions_of(page(operator)) == ["export_csv"]


def test_flags_that_the_user_may_not_change_are_named(
    operator: Client, flags: list[FeatureFlag], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "flagstaff.admin.FeatureFlagAdmin.has_toggle_permission",
        lambda _admin, _request, obj=None: obj is None or obj.key != "c",
    )
    response = act(operator, "turn_on", flags)
    assert messages_of(response) == ["Nothing was changed: you may not turn on c."]


# The export.


def exported(client: Client, flags: Iterable[FeatureFlag], **data: Any) -> list[dict[str, str]]:
    pks = [str(flag.pk) for flag in flags]
    response: Any = client.post(
        FLAGS, {"action": "export_csv", "_selected_action": pks, "index": "0", **data}
    )
    assert response["Content-Disposition"] == 'attachment; filename="flags.csv"'
    return list(csv.DictReader(response.getvalue().decode().splitlines()))


def test_export_has_what_the_list_shows(viewer: Client, alice_changes: None) -> None:
    [row] = exported(viewer, FeatureFlag.objects.all())
    times = {"last_evaluated_at", "served_in_bulk_at", "changed_at"}
    assert all(re.match(r"\d{4}-\d\d-\d\dT.*\+00:00", row.pop(name)) for name in times)
    assert row == {
        "key": "checkout",
        "description": "'=1+1",
        "state": "rollout",
        "enabled": "true",
        "rollout_percent": "25",
        "rules": "0",
        "owner": "web",
        "tags": "x, y",
        "review_on": "2099-01-31",
        "served_to_browsers_at": "",
        "changed_by": "alice",
    }


@pytest.fixture
def alice_changes() -> None:
    collect_usage()
    alice = User.objects.create_user("alice")
    fields: dict[str, Any] = {"owner": "web", "tags": ["x", "y"], "review_on": date(2099, 1, 31)}
    changes.flags.create("checkout", enabled=True, rollout_percent=5, **fields)
    evaluate("checkout")
    serve("checkout")
    with acting_as(alice):
        changes.flags.update("checkout", {"rollout_percent": 25, "description": "=1+1"})


def test_export_has_no_limit_and_a_fixed_number_of_queries(viewer: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n:03}") for n in range(300))
    flags = FeatureFlag.objects.all()

    assert len(exported(viewer, flags[:1], select_across="1")) == 300
    of_all = statements_of(lambda: exported(viewer, flags[:1], select_across="1"))
    assert len(statements_of(lambda: exported(viewer, flags[:1]))) == len(of_all)


# The number of queries of the pages that confirm.


@pytest.mark.thorough
@pytest.mark.parametrize("action", [*TOGGLING, *CHANGING])
def test_page_makes_the_same_queries_for_a_hundred_flags(operator: Client, action: str) -> None:
    changes.segments.create("team", STAFF_RULE["conditions"])
    rules = [STAFF_RULE, {"conditions": [{"segment": "team"}]}]
    for number in range(100):
        is_on = number % 2 == 0 or action == "turn_off"
        tags, key = ["x"], f"f{number:03}"
        FeatureFlag.objects.create(key=key, enabled=is_on, rules=rules, tags=tags)
    flags = list(FeatureFlag.objects.order_by("key"))

    def count(some: Iterable[FeatureFlag]) -> int:
        assert asks(act(operator, action, some))
        return len(statements_of(lambda: act(operator, action, some)))

    # Two of them are off: a single flag has a faster count.
    assert count(flags[:4]) == count(flags)


def test_flag_that_the_queryset_of_a_project_hides_is_not_named(
    operator: Client, flags: list[FeatureFlag], monkeypatch: pytest.MonkeyPatch
) -> None:
    queryset = FeatureFlagAdmin.get_queryset
    monkeypatch.setattr(
        FeatureFlagAdmin, "get_queryset", lambda *args: queryset(*args).exclude(key="c")
    )
    html = act(operator, "turn_off", flags).content.decode()
    assert "Turn off 2 flags?" in html
    assert "no longer exist" not in html


def test_primary_key_with_blanks_is_that_of_its_flag(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    data = {"action": "turn_off", "_selected_action": [f" {flags[0].pk}", str(flags[0].pk)]}
    html = operator.post(FLAGS, data, follow=True).content.decode()
    assert "Turn off 1 flag?" in html
    assert "no longer exist" not in html
