"""The pages that kill a flag and turn it on: question, permission, way back, message."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.changes import delete, disable, enable, set_rollout
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history, flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    column,
    confirmed,
    flag_url,
    kill,
    messages_of,
    page,
    preview_of,
    problems_of,
    production,
    staff,
    text_to_type,
    toggle_url,
    turn_on,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return staff("view_featureflag")


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


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
    flag.refresh_from_db()
    return flag.enabled


def users_with(flag: FeatureFlag) -> int:
    """Returns how many users would have the flag if it were enabled."""
    allowed = set(flag.allowed_users.values_list("pk", flat=True))
    pks = User.objects.values_list("pk", flat=True)
    return sum(pk in allowed or _bucket(flag.key, pk) < flag.rollout_percent for pk in pks)


def _bucket(key: str, pk: int) -> int:
    return int(sha256(f"{key}:{pk}".encode()).hexdigest(), 16) % 100


def links(html: str) -> list[str]:
    """Returns the links of the list to these pages, without the way back."""
    return re.findall(rf'href="({FLAGS}[^"]*/(?:kill|turn-on)/)', html)


# The way to the pages.


def test_list_links_to_the_page_that_changes_the_state(
    operator: Client, flag: FeatureFlag, off: FeatureFlag
) -> None:
    assert links(page(operator)) == [toggle_url(off, "turn-on"), toggle_url(flag, "kill")]


def test_list_without_permission_has_no_links(viewer: Client, flag: FeatureFlag) -> None:
    html = page(viewer)
    assert column(html, "state") == ["rollout 25 %"]
    assert links(html) == []


def test_page_of_flag_links_to_the_page_that_changes_its_state(
    operator: Client, flag: FeatureFlag, off: FeatureFlag
) -> None:
    assert links(page(operator, flag_url(flag))) == [toggle_url(flag, "kill")]
    assert links(page(operator, flag_url(off))) == [toggle_url(off, "turn-on")]


def test_page_of_flag_without_permission_says_which_one_is_needed(
    viewer: Client, flag: FeatureFlag
) -> None:
    html = page(viewer, flag_url(flag))
    assert links(html) == []
    [button] = re.findall(r'<button [^>]*disabled[^>]*aria-describedby="(.*?)"', html)
    [reason] = re.findall(rf'id="{button}">(.*?)<', html)
    assert reason == (
        "To turn flags on or off, you need the permission “flagstaff.toggle_featureflag”."
    )


# Kill.


def test_kill_page_asks_and_writes_nothing(operator: Client, flag: FeatureFlag) -> None:
    response = operator.get(toggle_url(flag, "kill"))
    assert "Turn off “new_checkout” for all users?" in response.content.decode()
    assert preview_of(response)["state"] == ["rollout 25 %", "off"]
    assert is_enabled(flag)


def test_kill_turns_flag_off(operator: Client, flag: FeatureFlag) -> None:
    data = confirmed(operator.get(toggle_url(flag, "kill")))
    response = operator.post(toggle_url(flag, "kill"), data, follow=True)
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


def test_kill_after_a_newer_change_wins(operator: Client, flag: FeatureFlag) -> None:
    data = confirmed(operator.get(toggle_url(flag, "kill")))
    set_rollout(flag.key, 100)
    kill(operator, flag, **{**data, "expect_version": "1"})
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 100)


def test_kill_changes_only_enabled(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    changed_at = flag.changed_at
    kill(operator, flag)
    flag.refresh_from_db()
    assert (flag.rollout_percent, *flag.allowed_users.all()) == (25, alice)
    assert flag.changed_at > changed_at


def test_kill_records_actor_source_and_reason(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    kill(operator, flag, _reason="orders fail")
    event = flag_history(flag.key)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "orders fail")


def test_kill_writes_log_entry(operator: Client, flag: FeatureFlag) -> None:
    kill(operator, flag)
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("admin", str(flag.pk))
    assert entry.get_change_message() == "The flag “new_checkout” is now off. Off for all users."


def test_kill_posted_twice_changes_nothing_more(operator: Client, flag: FeatureFlag) -> None:
    kill(operator, flag)
    flag.refresh_from_db()
    changed_at = flag.changed_at
    second = kill(operator, flag)
    assert messages_of(second) == ["The flag “new_checkout” was already off."]
    assert not is_enabled(flag)
    assert flag.changed_at == changed_at
    assert LogEntry.objects.count() == 1


def test_kill_of_a_flag_killed_meanwhile_is_no_error(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disabled_before(key: str) -> Any:
        disable(key)
        return disable(key)

    monkeypatch.setattr("flagstaff.changes.disable", disabled_before)
    assert messages_of(kill(operator, flag)) == ["The flag “new_checkout” was already off."]
    assert not is_enabled(flag)


def test_kill_of_a_flag_deleted_meanwhile_says_so(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted_before(key: str) -> Any:
        delete(key)
        return disable(key)

    monkeypatch.setattr("flagstaff.changes.disable", deleted_before)
    [*_, last] = messages_of(kill(operator, flag))
    assert last == "This flag no longer exists."


# Turn on.


def test_turn_on_page_asks_and_writes_nothing(operator: Client, off: FeatureFlag) -> None:
    response = operator.get(toggle_url(off, "turn-on"))
    assert "Turn on “a”?" in response.content.decode()
    assert preview_of(response) == {
        "state": ["off", "rollout 60 %"],
        "rollout": ["60 %", "60 %"],
        "allowed users": ["2", "2"],
        "who has the flag": [
            "Off for all users.",
            "On for 60 % of all users and 2 allowed users.",
        ],
        "users with the flag": ["0 of 3", f"{users_with(off)} of 3"],
    }
    assert not is_enabled(off)


def test_turn_on_without_confirmation_asks(operator: Client, off: FeatureFlag) -> None:
    assert asks(operator.post(toggle_url(off, "turn-on")))
    assert not is_enabled(off)


def test_confirmation_turns_flag_on_with_reason(operator: Client, off: FeatureFlag) -> None:
    [message] = messages_of(turn_on(operator, off, _reason="release 42"))
    assert message.startswith(
        "The flag “a” is now on. On for 60 % of all users and 2 allowed users."
    )
    assert is_enabled(off)
    assert flag_history("a")[0].reason == "release 42"


def test_message_for_flag_without_users_says_on_for_no_users(operator: Client) -> None:
    [message] = messages_of(turn_on(operator, make_off(0)))
    assert message.startswith(
        "The flag “a” is now on. On for no users: the rollout is 0 % and there are no "
        "allowed users."
    )


def test_turn_on_after_a_newer_change_is_a_conflict_that_asks_again(operator: Client) -> None:
    off = make_off(5)
    back = f"{FLAGS}?q=a"
    url = toggle_url(off, "turn-on", back)
    data = confirmed(operator.get(url))
    set_rollout("a", 100)
    response = operator.post(url, data, follow=True)
    [message] = messages_of(response)
    assert message.startswith("Not saved: a has version")
    assert message.endswith("press the button again.")
    assert response.redirect_chain == [(url, 302)]
    assert preview_of(response)["rollout"] == ["100 %", "100 %"]
    assert not is_enabled(off)


def test_reason_of_a_change_that_was_not_saved_is_in_the_message(operator: Client) -> None:
    url = toggle_url(make_off(5), "turn-on")
    data = confirmed(operator.get(url)) | {"_reason": "release 42"}
    set_rollout("a", 100)
    [message] = messages_of(operator.post(url, data, follow=True))
    assert message.endswith("press the button again. The reason that you typed: “release 42”.")


def test_turn_on_posted_twice_changes_nothing_more(operator: Client, off: FeatureFlag) -> None:
    url = toggle_url(off, "turn-on")
    data = confirmed(operator.get(url))
    operator.post(url, data)
    version = flag_version("a")
    second = operator.post(url, data, follow=True)
    assert messages_of(second)[-1] == "The flag “a” was already on."
    assert flag_version("a") == version
    assert LogEntry.objects.count() == 1


def test_turn_on_of_a_flag_turned_on_meanwhile_is_no_error(
    operator: Client, off: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enabled_before(key: str, **expected: Any) -> Any:
        monkeypatch.undo()
        enable(key)
        return enable(key, **expected)

    url = toggle_url(off, "turn-on")
    data = confirmed(operator.get(url))
    monkeypatch.setattr("flagstaff.changes.enable", enabled_before)
    response = operator.post(url, data, follow=True)
    assert messages_of(response) == ["The flag “a” was already on."]


def test_turn_on_asks_if_users_cannot_be_counted(
    operator: Client, off: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise FlagstaffError("the users could not be counted within the timeout")

    monkeypatch.setattr("flagstaff.admin.planned.impact_of_change", fail)
    response = operator.get(toggle_url(off, "turn-on"))
    assert "users" not in preview_of(response)
    operator.post(toggle_url(off, "turn-on"), confirmed(response))
    assert is_enabled(off)


@pytest.mark.parametrize("rollout_percent", [90, 100])
def test_turn_on_for_most_users_in_production_types_the_key(
    rollout_percent: int, operator: Client, settings: Any
) -> None:
    production(settings)
    off = make_off(rollout_percent)
    User.objects.bulk_create([User(username=f"user{number}") for number in range(100)])
    url = toggle_url(off, "turn-on")
    response = operator.get(url)
    assert text_to_type(response) == "a"
    response = operator.post(url, confirmed(response, _typed_key="b"))
    assert problems_of(response) == ["Not confirmed: type “a” exactly."]
    assert not is_enabled(off)
    operator.post(url, confirmed(response, _typed_key="a"))
    assert is_enabled(off)


def test_turn_on_for_few_users_in_production_types_nothing(operator: Client, settings: Any) -> None:
    production(settings)
    User.objects.bulk_create([User(username=f"user{number}") for number in range(100)])
    off = make_off(5)
    assert text_to_type(operator.get(toggle_url(off, "turn-on"))) == ""
    turn_on(operator, off)
    assert is_enabled(off)


# Both pages.

BOTH = pytest.mark.parametrize(("view", "enabled"), [("kill", True), ("turn-on", False)])


@BOTH
def test_page_for_a_flag_in_that_state_asks_nothing(
    view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=not enabled)
    response = operator.get(toggle_url(flag, view), follow=True)
    state = "off" if view == "kill" else "on"
    assert messages_of(response) == [f"The flag “a” was already {state}."]
    assert response.redirect_chain == [(flag_url(flag), 302)]


@pytest.mark.parametrize("view", ["kill", "turn-on"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("pk", ["0", "x", "9" * 31, quote("\x00"), "a/b"])
def test_missing_flag_shows_error_and_the_list(
    pk: str, method: str, view: str, operator: Client, flag: FeatureFlag
) -> None:
    response = getattr(operator, method)(f"{FLAGS}{pk}/{view}/", follow=True)
    assert messages_of(response) == ["This flag no longer exists."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert is_enabled(flag)


@BOTH
@pytest.mark.parametrize("method", ["get", "post"])
def test_page_without_permission_is_forbidden(
    method: str, view: str, enabled: bool, viewer: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    for pk in (flag.pk, 0):
        response = getattr(viewer, method)(f"{FLAGS}{pk}/{view}/", {"_confirmed": "1"})
        assert response.status_code == 403
    assert is_enabled(flag) is enabled


@BOTH
def test_page_when_logged_out_redirects_to_login(view: str, enabled: bool) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    response = Client().post(toggle_url(flag, view), {"_confirmed": "1"})
    assert response["Location"].startswith("/admin/login/")
    assert is_enabled(flag) is enabled


@BOTH
def test_get_request_with_confirmation_changes_nothing(
    view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    operator.get(toggle_url(flag, view), {"_confirmed": "1"})
    assert is_enabled(flag) is enabled


@BOTH
def test_form_needs_its_csrf_token(view: str, enabled: bool, admin_user: User) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    url = toggle_url(flag, view)
    data = confirmed(operator.get(url))
    without = {name: value for name, value in data.items() if name != "csrfmiddlewaretoken"}
    assert operator.post(url, without).status_code == 403
    assert is_enabled(flag) is enabled
    assert operator.post(url, data).status_code == 302
    assert is_enabled(flag) is not enabled


@BOTH
def test_key_is_escaped(view: str, enabled: bool, operator: Client) -> None:
    flag = FeatureFlag.objects.create(key="<b>", enabled=enabled)
    html = page(operator, toggle_url(flag, view))
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_message_escapes_the_key(operator: Client) -> None:
    flag = FeatureFlag.objects.create(key="<b>", enabled=True)
    html = kill(operator, flag).content.decode()
    assert "The flag “&lt;b&gt;” is now off." in html
    assert "<b>" not in html


@BOTH
@pytest.mark.parametrize("version", ["x", "-1", "9" * 5000])
def test_invalid_version_is_not_found_unless_the_page_kills(
    version: str, view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled, rollout_percent=5)
    data = {"_confirmed": "1", "expect_version": version}
    status = operator.post(toggle_url(flag, view), data).status_code
    assert status == (302 if view == "kill" else 404)


# The way back.


def test_page_goes_to_the_page_of_the_flag_by_default(operator: Client, flag: FeatureFlag) -> None:
    response = operator.get(toggle_url(flag, "kill"))
    assert f'href="{flag_url(flag)}" class="flagstaff-cancel"' in response.content.decode()
    assert kill(operator, flag).redirect_chain == [(flag_url(flag), 302)]


@BOTH
def test_page_goes_back_to_the_same_list_and_row(
    view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    back = f"{FLAGS}?q=a&enabled__exact={int(enabled)}&o=-1#flag-{flag.pk}"
    url = toggle_url(flag, view, back)
    response = operator.get(url)
    cancel = f'href="{back.replace("&", "&amp;")}" class="flagstaff-cancel"'
    assert cancel in response.content.decode()
    assert operator.post(url, confirmed(response))["Location"] == back


@BOTH
@pytest.mark.parametrize(
    "back",
    [
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
def test_way_back_cannot_leave_the_site(
    back: str, view: str, enabled: bool, operator: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=enabled)
    url = toggle_url(flag, view, back)
    response = operator.get(url)
    assert f'href="{flag_url(flag)}" class="flagstaff-cancel"' in response.content.decode()
    assert operator.post(url, confirmed(response))["Location"] == flag_url(flag)
