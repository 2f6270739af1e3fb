"""A save that gives a flag to users asks first; one that takes it away does not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.history import flag_version
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
    preview_of,
    problems_of,
    production,
    save_flag,
    shown_form,
    state,
    text_to_type,
    undo_url,
    undo_urls,
)
from tests.support.history import flag_history

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
# Matches all users but the administrator.
CUSTOMER = {"attribute": "is_staff", "operator": "in", "values": [False]}
KNOWN = {"attribute": "is_authenticated", "operator": "in", "values": [True]}
ADD, KEY = f"{FLAGS}add/", "new_checkout"


@pytest.fixture(autouse=True)
def users() -> None:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(199)])


def rules(*rules: dict[str, Any]) -> dict[str, Any]:
    """Returns the edit of the rules as JSON."""
    return {"rules-rows": None, "rules": json.dumps(rules)}


# What asks.


def test_save_that_changes_no_result_or_turns_off_saves_at_once(
    operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(flag_url(flag), browser_form(operator, flag), follow=True)
    [message] = messages_of(response)
    assert message == "Nothing was changed: “new_checkout” already has these values."
    assert undo_urls(response) == []
    assert save_flag(operator, flag, description="One page").status_code == 302
    assert flag_history(flag.key)[0].action == "change"
    assert save_flag(operator, flag, enabled=None, rollout_percent=100).status_code == 302
    assert state(flag) == (False, 100)


@pytest.mark.parametrize(
    ("stored", "edit"),
    [
        ({}, {"rollout_percent": 50, "description": "One page"}),
        ({}, rules({"conditions": [CUSTOMER]})),
        ({"enabled": False}, {"enabled": "on"}),
        ({"rollout_percent": 100, "rules": [{"conditions": [KNOWN]}]}, {"rollout_percent": 0}),
    ],
    ids=["rollout", "rules", "turned on", "taken from anonymous users"],
)
def test_save_that_users_notice_asks_and_writes_nothing(
    stored: dict[str, Any], edit: dict[str, Any], operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(**stored)
    version = flag_version(flag.key)
    response = save_flag(operator, flag, **edit)
    assert asks(response)
    assert "Save these changes of “new_checkout”?" in response.content.decode()
    assert flag_version(flag.key) == version
    assert operator.post(flag_url(flag), confirmed(response)).status_code == 302
    assert flag_version(flag.key) != version


def test_save_of_a_flag_that_changed_since_the_question_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    shown = save_flag(operator, flag, rollout_percent=50)
    changes.flags.update(flag.key, {"rules": [{"conditions": [CUSTOMER]}]})
    again = operator.post(flag_url(flag), confirmed(shown))
    assert (asks(again), state(flag)) == (True, (True, 25))
    assert operator.post(flag_url(flag), confirmed(again)).status_code == 302
    assert state(flag) == (True, 50)


def test_question_and_save_run_the_view_of_django_once_each(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, runs = ModelAdmin._changeform_view, []  # type: ignore[attr-defined]

    def run(*args: Any) -> Any:
        runs.append(args)
        return view(*args)

    monkeypatch.setattr(ModelAdmin, "_changeform_view", run)
    data = {**form_data(operator.get(flag_url(flag))), "rollout_percent": 50}
    runs.clear()
    response = operator.post(flag_url(flag), data)
    assert (asks(response), len(runs)) == (True, 1)
    assert operator.post(flag_url(flag), confirmed(response)).status_code == 302
    assert (state(flag), len(runs)) == ((True, 50), 2)


@pytest.mark.parametrize(("count", "percent", "typed"), [(0, 5, ""), (3, 0, ""), (150, 0, "a")])
def test_new_flag_that_is_on_asks_and_keeps_its_allowed_users(
    count: int, percent: int, typed: str, operator: Client, settings: Any
) -> None:
    production(settings)
    pks = list(User.objects.order_by("pk").values_list("pk", flat=True)[:count])
    data = form_data(operator.get(ADD)) | {"key": "a", "enabled": "on", "rollout_percent": percent}
    response = operator.post(ADD, data | {"allowed_users": pks})
    assert asks(response)
    assert "Add “a”?" in response.content.decode()
    preview = preview_of(response)
    assert {now for now, _after in preview.values()} == {"does not exist"}
    assert preview["allowed users"][1] == str(count)
    assert text_to_type(response) == typed
    assert not FeatureFlag.objects.exists()
    operator.post(ADD, confirmed(response, _typed_key=typed))
    flag = FeatureFlag.objects.get()
    assert state(flag) == (True, percent)
    assert list(flag.allowed_users.order_by("pk").values_list("pk", flat=True)) == pks


# What the page shows.


@pytest.mark.parametrize("environment", [None, {"name": "Test", "production": False}])
def test_page_and_message_say_what_changes_for_how_many_users(
    environment: object, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    response = save_flag(operator, flag, rollout_percent=100)
    assert text_to_type(response) == ""
    shown = preview_of(response)
    assert shown["state"] == ["rollout 25 %", "on for all"]
    assert shown["rollout"] == ["25 %", "100 %"]
    [before, after] = shown["users with the flag"]
    count = int(before.removesuffix(" of 200"))
    assert after == "200 of 200"
    note = (
        f"25 → 100 %: {200 - count} users gain the flag. Afterwards 200 of 200 users have it. "
        "Everybody who is not logged in gains the flag."
    )
    assert notes_of(response) == [note]
    response = operator.post(flag_url(flag), confirmed(response), follow=True)
    [message] = messages_of(response)
    assert message.startswith("“new_checkout” was changed: rollout 25 → 100 %. ")
    assert note in message
    assert "was changed successfully" not in response.content.decode()
    version = flag_version(flag.key)
    assert undo_urls(response) == [undo_url(version)]
    # A rollout below 100 % takes the flag from them.
    response = save_flag(operator, flag, rollout_percent=99)
    assert "Everybody who is not logged in loses the flag." in notes_of(response)[0]
    operator.post(flag_url(flag), confirmed(response))
    # Another unit reassigns the users.
    response = save_flag(operator, flag, bucket_by="visitor")
    assert preview_of(response)["bucketing unit"] == ["user", "visitor"]
    [note] = notes_of(response)
    assert re.search("reassign.*every user", note)


# Nothing is lost.


def test_page_repeats_all_that_was_posted_and_its_reason_can_be_edited(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update(flag.key, {"rules": [{"name": "team", "conditions": [STAFF]}]})
    typed = {
        "description": "Line one\r\nline “two” <b>&amp;</b> ",
        "owner": '"><script>alert(1)</script>',
        "tags": "checkout, mobile",
        "_reason": '"><b>draft',
        "_continue": "1",
    }
    data = browser_form(operator, flag, rollout_percent=50, **typed)
    response = operator.post(flag_url(flag), data)
    html = response.content.decode()
    assert not any(markup in html for markup in ("<script>alert", "<b>draft", "<b>&amp;"))
    found = confirmed(response)
    assert {name: found[name] for name in data} == {
        name: [str(value)] for name, value in data.items()
    }
    operator.post(flag_url(flag), {**found, "_reason": "release 42"})
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.owner) == (50, typed["owner"])
    assert flag.description == "Line one\r\nline “two” <b>&amp;</b>"
    assert flag.tags == ["checkout", "mobile"]
    assert flag.rules == [{"name": "team", "conditions": [STAFF]}]
    assert flag_history(flag.key)[0].reason == "release 42"


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_confirmation_goes_where_the_pressed_button_leads(
    button: str, operator: Client, flag: FeatureFlag
) -> None:
    edit = {"rollout_percent": 50, button: "1"}
    response = operator.post(flag_url(flag), confirmed(save_flag(operator, flag, **edit)))
    urls = {"_save": flag_url(flag), "_continue": flag_url(flag), "_addanother": ADD}
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


def test_newer_change_of_the_same_field_is_a_conflict_and_a_deletion_a_message(
    operator: Client, flag: FeatureFlag
) -> None:
    data = confirmed(save_flag(operator, flag, rollout_percent=50))
    changes.flags.set_rollout(flag.key, 80)
    response = operator.post(flag_url(flag), data)
    [error] = response.context["adminform"].form.errors["rollout_percent"]
    assert error.startswith("Yours: 50 %. Now in the database: 80 %")
    assert state(flag) == (True, 80)
    # The page has no confirmation of the old values.
    assert "_confirmed" not in form_data(response)
    changes.flags.delete(flag.key)
    response = operator.post(flag_url(flag), data, follow=True)
    assert response.status_code == 200
    assert any("exist" in text for text in messages_of(response))


# Production.


@pytest.mark.parametrize(
    ("edit", "typed"),
    [
        ({"rollout_percent": 26}, ""),
        ({"rollout_percent": 100}, "new_checkout"),
        ({"bucket_by": "visitor"}, "new_checkout"),
        (rules({"conditions": [CUSTOMER], "rollout_percent": 34}), ""),
        (rules({"conditions": [CUSTOMER]}), "new_checkout"),
        (rules({"conditions": [{**KNOWN, "negate": True}]}), KEY),
    ],
    ids=["few", "all", "unit", "few by rules", "most by rules", "anonymous by rules"],
)
def test_change_of_most_users_in_production_types_the_key(
    edit: dict[str, Any], typed: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    version = flag_version(flag.key)
    response = save_flag(operator, flag, **edit)
    assert text_to_type(response) == typed
    for wrong in ("", "new", "NEW_CHECKOUT", "new_checkout2", "Production") if typed else ():
        data = confirmed(response, _typed_key=wrong, _reason="release")
        response = operator.post(flag_url(flag), data)
        assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
        assert confirmed(response)["_reason"] == ["release"]
        assert 'aria-describedby="flagstaff-problems"' in response.content.decode()
        assert flag_version(flag.key) == version
    data = confirmed(response, _typed_key=f" {typed} ")
    assert operator.post(flag_url(flag), data).status_code == 302
    assert flag_version(flag.key) != version
