"""The pages that kill a flag and turn it on: question, permission, way back, message."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    bucket_of,
    confirmed,
    flag_url,
    kill,
    messages_of,
    page,
    preview_of,
    problems_of,
    production,
    state,
    text_to_type,
    toggle_url,
    turn_on,
)
from tests.support.history import flag_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def off() -> FeatureFlag:
    """A disabled flag for 60 % of the users, and for two of them by name."""
    return make_off(60, allowed=2)


def make_off(rollout_percent: int, allowed: int = 0) -> FeatureFlag:
    flag = FeatureFlag.objects.create(key="a", rollout_percent=rollout_percent)
    users = [User(username=f"user{number}") for number in range(allowed)]
    flag.allowed_users.set(User.objects.bulk_create(users))
    return flag


def is_enabled(flag: FeatureFlag) -> bool:
    return state(flag)[0]


def users_with(flag: FeatureFlag) -> int:
    """Returns how many users would have the flag if it were enabled."""
    allowed = set(flag.allowed_users.values_list("pk", flat=True))
    pks = User.objects.values_list("pk", flat=True)
    return sum(pk in allowed or bucket_of(flag.key, pk) < flag.rollout_percent for pk in pks)


def links(html: str) -> list[str]:
    """Returns the links of the list to these pages, without the way back."""
    return re.findall(rf'href="({FLAGS}[^"]*/(?:kill|turn-on)/)', html)


def test_list_and_pages_link_to_the_page_that_changes_the_state(
    operator: Client, flag: FeatureFlag, off: FeatureFlag
) -> None:
    kill_url, turn_on_url = toggle_url(flag, "kill"), toggle_url(off, "turn-on")
    assert links(page(operator)) == [turn_on_url, kill_url]
    assert links(page(operator, flag_url(flag))) == [kill_url]
    assert links(page(operator, flag_url(off))) == [turn_on_url]


# Kill.


def test_kill_page_asks_and_its_form_turns_flag_off(operator: Client, flag: FeatureFlag) -> None:
    response = operator.get(toggle_url(flag, "kill"))
    assert "Turn off “new_checkout” for all users?" in response.content.decode()
    assert preview_of(response)["state"] == ["rollout 25 %", "off"]
    assert is_enabled(flag)
    response = operator.post(toggle_url(flag, "kill"), confirmed(response), follow=True)
    [message] = messages_of(response)
    assert message.startswith("The flag “new_checkout” is now off. Off for all users.")
    assert not is_enabled(flag)


def test_kill_needs_neither_version_nor_reason_nor_confirmation(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings, REQUIRE_REASON=True)
    response = operator.get(toggle_url(flag, "kill"))
    assert text_to_type(response) == ""
    assert " required" not in response.content.decode().split('id="id_reason"')[1].split(">")[0]
    operator.post(toggle_url(flag, "kill"))
    assert not is_enabled(flag)


def test_kill_after_newer_change_wins_changes_only_enabled_and_is_recorded(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    data = confirmed(operator.get(toggle_url(flag, "kill")))
    changes.flags.set_rollout(flag.key, 100)
    flag.refresh_from_db()
    changed_at = flag.changed_at
    kill(operator, flag, **{**data, "expect_version": "1", "_reason": "orders fail"})
    assert state(flag) == (False, 100)
    assert list(flag.allowed_users.all()) == [alice]
    assert flag.changed_at > changed_at
    event = flag_history(flag.key)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "orders fail")
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (admin_user, str(flag.pk))
    assert entry.get_change_message() == "The flag “new_checkout” is now off. Off for all users."


@pytest.mark.parametrize(
    ("view", "meanwhile", "text"),
    [
        ("kill", changes.flags.disable, "The flag “a” was already off."),
        ("kill", changes.flags.delete, "This flag no longer exists."),
        ("turn-on", changes.flags.enable, "The flag “a” was already on."),
    ],
)
def test_flag_that_was_changed_meanwhile_is_no_error(
    view: str, meanwhile: Any, text: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, change = (
        ("disable", changes.flags.disable) if view == "kill" else ("enable", changes.flags.enable)
    )

    def change_after(key: str, **expected: Any) -> Any:
        monkeypatch.undo()
        meanwhile(key)
        return change(key, **expected)

    flag = FeatureFlag.objects.create(key="a", enabled=view == "kill")
    data = confirmed(operator.get(toggle_url(flag, view)))
    monkeypatch.setattr(f"flagstaff.changes.{name}", change_after)
    response = operator.post(toggle_url(flag, view), data, follow=True)
    assert messages_of(response)[-1] == text
    assert FeatureFlag.objects.filter(enabled=True).exists() is (view == "turn-on")


# Turn on.


def test_turn_on_page_asks_and_its_confirmation_turns_the_flag_on(
    operator: Client, off: FeatureFlag
) -> None:
    response = operator.get(toggle_url(off, "turn-on"))
    assert "Turn on “a”?" in response.content.decode()
    who = "On for 60 % of all users and 2 allowed users."
    assert preview_of(response) == {
        "state": ["off", "rollout 60 %"],
        "rollout": ["60 %", "60 %"],
        "allowed users": ["2", "2"],
        "who has the flag": ["Off for all users.", who],
        "users with the flag": ["0 of 3", f"{users_with(off)} of 3"],
    }
    assert asks(operator.post(toggle_url(off, "turn-on")))
    assert not is_enabled(off)
    [message] = messages_of(turn_on(operator, off, _reason="release 42"))
    assert message.startswith(f"The flag “a” is now on. {who}")
    assert is_enabled(off)
    assert flag_history("a")[0].reason == "release 42"


def test_turn_on_after_a_newer_change_is_a_conflict_that_asks_again(operator: Client) -> None:
    off = make_off(5)
    url = toggle_url(off, "turn-on", f"{FLAGS}?q=a")
    data = confirmed(operator.get(url))
    changes.flags.set_rollout("a", 100)
    response = operator.post(url, data | {"_reason": "release 42"})
    [problem] = problems_of(response)
    assert problem.startswith("Not saved: a has version")
    assert problem.endswith("press the button again.")
    assert preview_of(response)["rollout"] == ["100 %", "100 %"]
    assert not is_enabled(off)
    # The page asks for the present state, and keeps the reason.
    operator.post(url, confirmed(response))
    assert is_enabled(off)
    assert flag_history("a")[0].reason == "release 42"


@pytest.mark.parametrize(("rollout_percent", "typed"), [(5, ""), (100, "a")])
def test_turn_on_for_most_users_in_production_types_the_key(
    rollout_percent: int, typed: str, operator: Client, settings: Any
) -> None:
    production(settings)
    # Fixed primary keys, because they decide who is in the 5 %.
    User.objects.bulk_create(User(pk=pk, username=f"user{pk}") for pk in range(10**6, 10**6 + 20))
    off = make_off(rollout_percent)
    url = toggle_url(off, "turn-on")
    response = operator.get(url)
    assert text_to_type(response) == typed
    if typed:
        response = operator.post(url, confirmed(response, _typed_key="b"))
        assert problems_of(response) == ["Not confirmed: type “a” exactly."]
        assert not is_enabled(off)
    operator.post(url, confirmed(response, _typed_key=typed))
    assert is_enabled(off)


# Both pages.

BOTH = pytest.mark.parametrize(("view", "enabled"), [("kill", True), ("turn-on", False)])


@pytest.mark.parametrize(("view", "word"), [("kill", "off"), ("turn-on", "on")])
def test_confirmation_escapes_the_key_and_posted_twice_changes_nothing_more(
    view: str, word: str, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="<b>", enabled=view == "kill")
    url = toggle_url(flag, view)
    response = operator.get(url)
    data = confirmed(response)
    html = response.content.decode() + operator.post(url, data, follow=True).content.decode()
    assert f"The flag “&lt;b&gt;” is now {word}." in html
    assert "<b>" not in html
    version = flag_version("<b>")
    second = operator.post(url, data, follow=True)
    assert messages_of(second) == [f"The flag “<b>” was already {word}."]
    assert (flag_version("<b>"), LogEntry.objects.count()) == (version, 1)
    # The page of a flag in that state asks nothing.
    response = operator.get(url, follow=True)
    assert messages_of(response) == [f"The flag “<b>” was already {word}."]
    assert response.redirect_chain == [(flag_url(flag), 302)]


@pytest.mark.parametrize("pk", ["0", "x", "9" * 31, quote("\x00"), "a/b"])
def test_missing_flag_shows_error_and_the_list(pk: str, operator: Client) -> None:
    for view in ("kill", "turn-on"):
        for method in (operator.get, operator.post):
            response = method(f"{FLAGS}{pk}/{view}/", follow=True)
            assert messages_of(response) == ["This flag no longer exists."]
            assert response.redirect_chain == [(FLAGS, 302)]


@BOTH
def test_page_without_permission_and_a_get_request_change_nothing(
    view: str, enabled: bool, viewer: Client, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    confirmation = {"_confirmed": "1"}
    for pk in (flag.pk, 0):
        for method in (viewer.get, viewer.post):
            assert method(f"{FLAGS}{pk}/{view}/", confirmation).status_code == 403
    response = Client().post(toggle_url(flag, view), confirmation)
    assert response["Location"].startswith("/admin/login/")
    assert asks(operator.get(toggle_url(flag, view), confirmation))
    assert is_enabled(flag) is enabled


@BOTH
def test_invalid_version_is_not_found_unless_the_page_kills(
    view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled, rollout_percent=5)
    for version in ("x", "-1", "9" * 5000):
        data = {"_confirmed": "1", "expect_version": version}
        status = operator.post(toggle_url(flag, view), data).status_code
        assert status == (302 if view == "kill" else 404)


@BOTH
@pytest.mark.parametrize(
    "back",
    [
        FLAGS + "?q=a&enabled__exact=1&o=-1#flag-7",
        "",
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
        " //evil.example",
        "\t//evil.example",
        "data:text/html,x",
    ],
)
def test_way_back_is_the_same_list_and_row_and_cannot_leave_the_site(
    back: str, view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    url = toggle_url(flag, view, back)
    target = back if back.startswith(FLAGS) else flag_url(flag)
    response = operator.get(url)
    cancel = f'href="{target.replace("&", "&amp;")}" class="flagstaff-cancel"'
    assert cancel in response.content.decode()
    assert operator.post(url, confirmed(response))["Location"] == target
