"""A save that gives a flag to users asks first; one that takes it away does not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.changes import delete, set_rollout, update
from flagstaff.history import flag_history, flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    browser_form,
    confirmed,
    flag_url,
    form_data,
    messages_of,
    notes_of,
    post_confirmed,
    preview_of,
    problems_of,
    production,
    save_flag,
    shown_form,
    text_to_type,
    undo_urls,
)

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
# Matches all users but the administrator.
CUSTOMER = {"attribute": "is_staff", "operator": "in", "values": [False]}
ADD = f"{FLAGS}add/"


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


@pytest.fixture(autouse=True)
def users() -> None:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(199)])


def state(flag: FeatureFlag) -> tuple[bool, int]:
    flag.refresh_from_db()
    return flag.enabled, flag.rollout_percent


def rules(*rules: dict[str, Any]) -> dict[str, Any]:
    """Returns the edit of the rules as JSON."""
    return {"rules-rows": None, "rules": json.dumps(rules)}


# What asks.


@pytest.mark.parametrize(
    "edit",
    [
        {"rollout_percent": 5},
        {"rollout_percent": 0},
        {"enabled": None},
        {"enabled": None, "rollout_percent": 100},
        {"description": "One page"},
        {"kind": "ops"},
    ],
)
def test_save_that_gives_the_flag_to_nobody_saves_at_once(
    edit: dict[str, Any], operator: Client, flag: FeatureFlag
) -> None:
    assert save_flag(operator, flag, **edit).status_code == 302
    assert flag_history(flag.key)[0].action == "change"


@pytest.mark.parametrize(
    "edit",
    [
        {"rollout_percent": 26},
        {"rollout_percent": 100},
        {"rollout_percent": 50, "description": "One page"},
        {"bucket_by": "visitor"},
        rules({"conditions": [CUSTOMER]}),
    ],
)
def test_save_that_gives_the_flag_to_users_asks_and_writes_nothing(
    edit: dict[str, Any], operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version(flag.key)
    response = save_flag(operator, flag, **edit)
    assert asks(response)
    assert "Save these changes of “new_checkout”?" in response.content.decode()
    assert flag_version(flag.key) == version
    assert operator.post(flag_url(flag), confirmed(response)).status_code == 302
    assert flag_version(flag.key) != version


def test_save_that_turns_the_flag_on_asks(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=False)
    response = save_flag(operator, flag, enabled="on")
    assert asks(response)
    assert state(flag) == (False, 25)
    operator.post(flag_url(flag), confirmed(response))
    assert state(flag) == (True, 25)


def test_save_of_a_disabled_flag_asks_nothing(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert save_flag(operator, flag, rollout_percent=100).status_code == 302
    assert state(flag) == (False, 100)


def test_new_flag_that_is_on_asks(operator: Client) -> None:
    data = form_data(operator.get(ADD)) | {"key": "a", "enabled": "on", "rollout_percent": 5}
    response = operator.post(ADD, data)
    assert asks(response)
    assert preview_of(response)["state"] == ["off", "rollout 5 %"]
    assert not FeatureFlag.objects.exists()
    assert operator.post(ADD, confirmed(response)).status_code == 302
    assert state(FeatureFlag.objects.get()) == (True, 5)


@pytest.mark.parametrize(("count", "typed"), [(3, ""), (150, "a")])
def test_new_flag_for_allowed_users_asks(
    count: int, typed: str, operator: Client, settings: Any
) -> None:
    production(settings)
    pks = list(User.objects.values_list("pk", flat=True)[:count])
    data = form_data(operator.get(ADD)) | {"key": "a", "enabled": "on", "rollout_percent": 0}
    data["allowed_users"] = pks
    response = operator.post(ADD, data)
    assert asks(response)
    assert preview_of(response)["allowed users"] == [str(count), str(count)]
    assert text_to_type(response) == typed
    operator.post(ADD, confirmed(response, _typed_key=typed))
    assert FeatureFlag.objects.get().allowed_users.count() == count


def test_new_flag_that_is_off_asks_nothing(operator: Client) -> None:
    data = form_data(operator.get(ADD)) | {"key": "a", "rollout_percent": 100}
    assert operator.post(ADD, data).status_code == 302


# What the page shows.


def test_page_shows_the_present_state_and_the_new_one(operator: Client, flag: FeatureFlag) -> None:
    response = save_flag(operator, flag, rollout_percent=100)
    shown = preview_of(response)
    assert shown["state"] == ["rollout 25 %", "on for all"]
    assert shown["rollout"] == ["25 %", "100 %"]
    [before, after] = shown["users with the flag"]
    count = int(before.removesuffix(" of 200"))
    assert after == "200 of 200"
    assert notes_of(response) == [
        f"25 → 100 %: {200 - count} users gain the flag. Afterwards 200 of 200 users have it."
    ]


def test_page_of_another_unit_says_that_users_are_reassigned(
    operator: Client, flag: FeatureFlag
) -> None:
    response = save_flag(operator, flag, bucket_by="visitor")
    assert preview_of(response)["bucketed by"] == ["user", "visitor"]
    [note] = notes_of(response)
    assert "reassigned every user" in note or "reassigns every user" in note


def test_page_escapes_what_was_posted(operator: Client, flag: FeatureFlag) -> None:
    text = '"><script>alert(1)</script>'
    response = save_flag(operator, flag, rollout_percent=50, description=text, _reason=text)
    assert "<script>alert" not in response.content.decode()
    assert confirmed(response)["description"] == [text]


# Nothing is lost.


def test_page_repeats_all_that_was_posted(operator: Client, flag: FeatureFlag) -> None:
    update(flag.key, {"rules": [{"name": "team", "conditions": [STAFF]}]})
    data = browser_form(
        operator,
        flag,
        rollout_percent=50,
        description="Line one\r\nline “two” <b>&amp;</b> ",
        owner="payments",
        tags="checkout, mobile",
        _reason="release 42",
        _continue="1",
    )
    response = operator.post(flag_url(flag), data)
    found = confirmed(response)
    assert {name: found[name] for name in data} == {
        name: [str(value)] for name, value in data.items()
    }
    operator.post(flag_url(flag), found)
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.owner) == (50, "payments")
    assert flag.description == "Line one\r\nline “two” <b>&amp;</b>"
    assert flag.tags == ["checkout", "mobile"]
    assert flag.rules == [{"name": "team", "conditions": [STAFF]}]
    assert flag_history(flag.key)[0].reason == "release 42"


def test_page_repeats_several_values_of_one_field(operator: Client) -> None:
    pks = list(User.objects.order_by("pk").values_list("pk", flat=True)[:3])
    data = form_data(operator.get(ADD)) | {
        "key": "a",
        "enabled": "on",
        "rollout_percent": 5,
        "allowed_users": pks,
    }
    post_confirmed(operator, ADD, data)
    allowed = FeatureFlag.objects.get().allowed_users.order_by("pk")
    assert list(allowed.values_list("pk", flat=True)) == pks


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_confirmation_goes_where_the_pressed_button_leads(
    button: str, operator: Client, flag: FeatureFlag
) -> None:
    edit = {"rollout_percent": 50, button: "1"}
    response = operator.post(flag_url(flag), confirmed(save_flag(operator, flag, **edit)))
    urls = {"_save": FLAGS, "_continue": flag_url(flag), "_addanother": ADD}
    assert response["Location"] == urls[button]


def test_way_back_shows_the_form_with_what_was_typed(operator: Client, flag: FeatureFlag) -> None:
    response = save_flag(operator, flag, rollout_percent=50, description="One", _reason="release")
    data = confirmed(response)
    del data["_confirm"]
    page = operator.post(flag_url(flag), {**data, "_edit": "1"})
    assert not asks(page)
    shown = shown_form(page)
    assert (shown["rollout_percent"], shown["description"]) == ("50", "One")
    assert shown["_reason"] == "release"
    assert page.context["adminform"].form.errors == {}
    assert state(flag) == (True, 25)
    # The form is saved as the one before.
    again = operator.post(flag_url(flag), shown)
    assert asks(again)


def test_reason_of_the_page_replaces_the_one_of_the_form(
    operator: Client, flag: FeatureFlag
) -> None:
    response = save_flag(operator, flag, rollout_percent=50, _reason="draft")
    assert confirmed(response)["_reason"] == ["draft"]
    operator.post(flag_url(flag), confirmed(response, _reason="final"))
    assert flag_history(flag.key)[0].reason == "final"


def test_invalid_form_shows_its_errors_before_it_asks(operator: Client, flag: FeatureFlag) -> None:
    response = save_flag(operator, flag, rollout_percent=101)
    assert not asks(response)
    assert "rollout_percent" in response.context["adminform"].form.errors


def test_newer_change_of_the_same_field_is_a_conflict(operator: Client, flag: FeatureFlag) -> None:
    data = confirmed(save_flag(operator, flag, rollout_percent=50))
    set_rollout(flag.key, 80)
    response = operator.post(flag_url(flag), data)
    [error] = response.context["adminform"].form.errors["rollout_percent"]
    assert error.startswith("Yours: 50. Now in the database: 80")
    assert state(flag) == (True, 80)
    # The page has no confirmation of the old values.
    assert "_confirmed" not in form_data(response)


def test_flag_deleted_while_the_page_was_open_is_no_server_error(
    operator: Client, flag: FeatureFlag
) -> None:
    data = confirmed(save_flag(operator, flag, rollout_percent=50))
    delete(flag.key)
    response = operator.post(flag_url(flag), data, follow=True)
    assert response.status_code == 200
    assert any("exist" in text for text in messages_of(response))


def test_confirmation_without_csrf_token_is_rejected(admin_user: User, flag: FeatureFlag) -> None:
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    assert save_flag(operator, flag, rollout_percent=50, _confirmed="1").status_code == 403
    assert state(flag) == (True, 25)


# Production.


@pytest.mark.parametrize(
    ("edit", "is_most"),
    [
        ({"rollout_percent": 26}, False),
        ({"rollout_percent": 40}, False),
        ({"rollout_percent": 75}, True),
        ({"rollout_percent": 100}, True),
        ({"bucket_by": "visitor"}, True),
        (rules({"conditions": [CUSTOMER], "rollout_percent": 40}), False),
        (rules({"conditions": [CUSTOMER]}), True),
    ],
)
def test_change_of_most_users_in_production_types_the_key(
    edit: dict[str, Any], is_most: bool, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    response = save_flag(operator, flag, **edit)
    assert text_to_type(response) == ("new_checkout" if is_most else "")
    version = flag_version(flag.key)
    response = operator.post(flag_url(flag), confirmed(response))
    assert asks(response) is is_most
    if is_most:
        assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
        assert flag_version(flag.key) == version
        response = operator.post(flag_url(flag), confirmed(response, _typed_key="new_checkout"))
    assert response.status_code == 302
    assert flag_version(flag.key) != version


@pytest.mark.parametrize("typed", ["", "new", "NEW_CHECKOUT", "new_checkout2", "Production"])
def test_wrong_text_writes_nothing_and_keeps_the_reason(
    typed: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    response = save_flag(operator, flag, rollout_percent=100)
    data = confirmed(response, _typed_key=typed, _reason="release")
    response = operator.post(flag_url(flag), data)
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert confirmed(response)["_reason"] == ["release"]
    assert 'aria-describedby="flagstaff-problems"' in response.content.decode()
    assert state(flag) == (True, 25)


def test_spaces_around_the_typed_key_are_ignored(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    response = save_flag(operator, flag, rollout_percent=100)
    operator.post(flag_url(flag), confirmed(response, _typed_key=" new_checkout "))
    assert state(flag) == (True, 100)


@pytest.mark.parametrize(
    "environment", [None, {"name": "Staging"}, {"name": "Test", "production": False}]
)
def test_nothing_is_typed_outside_production(
    environment: object, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    response = save_flag(operator, flag, rollout_percent=100)
    assert text_to_type(response) == ""
    operator.post(flag_url(flag), confirmed(response))
    assert state(flag) == (True, 100)


def test_page_names_the_environment(operator: Client, flag: FeatureFlag, settings: Any) -> None:
    production(settings, "Shop <1>")
    html = save_flag(operator, flag, rollout_percent=50).content.decode()
    assert re.search(r"<title>\s*Shop &lt;1&gt; \|", html)
    assert html.count('class="flagstaff-environment') == 1
    assert "Shop <1>" not in html


# The message afterwards.


def test_message_says_what_changed_for_how_many_users(operator: Client, flag: FeatureFlag) -> None:
    response = save_flag(operator, flag, rollout_percent=100)
    [note] = notes_of(response)
    response = operator.post(flag_url(flag), confirmed(response), follow=True)
    [message] = messages_of(response)
    assert message.startswith("“new_checkout” was changed: rollout_percent 25 → 100. ")
    assert note in message
    assert "was changed successfully" not in response.content.decode()


def test_message_links_to_the_undo_of_the_change(operator: Client, flag: FeatureFlag) -> None:
    response = post_confirmed(
        operator, flag_url(flag), browser_form(operator, flag, rollout_percent=100), follow=True
    )
    version = flag_version(flag.key)
    assert undo_urls(response) == [f"{flag_url(flag, 'history')}?undo={version}"]


def test_save_without_edits_says_that_nothing_was_changed(
    operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(flag_url(flag), browser_form(operator, flag), follow=True)
    [message] = messages_of(response)
    assert message == "Nothing was changed: “new_checkout” already has these values."
    assert undo_urls(response) == []
