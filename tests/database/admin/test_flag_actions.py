"""The actions of a flag: what each asks, and what it writes."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import changes
from flagstaff.changes import impact
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    act,
    answer,
    asks,
    confirmed,
    errors_of,
    flag_url,
    message_links,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    staff,
    state,
    text_to_type,
    toggle_url,
    typed,
    undo_urls,
)
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.stale_flags import collect_usage, evaluate
from tests.support.usage_rows import delete_usage

pytestmark = pytest.mark.django_db

STAFF = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def reload(flag: FeatureFlag) -> FeatureFlag:
    return FeatureFlag.objects.get(pk=flag.pk)


def stored(flag: FeatureFlag) -> dict[str, Any]:
    return dict(FeatureFlag.objects.values().get(pk=flag.pk))


# What each writes.


def test_users_are_allowed_and_disallowed_by_name_or_primary_key(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    bob = User.objects.create_user("bob")
    act(operator, flag_url(flag, "allow"), users=f"alice\n {bob.pk}, alice")
    assert {*flag.allowed_users.all()} == {alice, bob}
    act(operator, flag_url(flag, "disallow"), users="bob")
    assert [*flag.allowed_users.all()] == [alice]
    act(operator, flag_url(flag, "disallow"), users='"alice')
    assert not flag.allowed_users.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alice, carol", "No user has this primary key or username: “carol”."),
        ("alise", "No user has this primary key or username: “alise”. Did you mean “alice”?"),
        ("", "This field is required."),
    ],
)
def test_unknown_users_are_named_and_what_was_typed_stays(
    text: str, problem: str, operator: Client, flag: FeatureFlag, alice: User
) -> None:
    response = operator.post(flag_url(flag, "allow"), {"users": text, "_reason": "beta"})
    assert errors_of(response) == [problem]
    assert not flag.allowed_users.exists()
    html = unescape(response.content.decode())
    assert text in html
    assert 'value="beta"' in html


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("rollout", {"percent": "101"}, "Ensure this value is less than or equal to 100."),
        ("rollout", {"percent": ""}, "This field is required."),
        ("unit", {"bucket_by": ""}, None),
        ("rules", {"rules": "[{]"}, None),
        ("rules", {"rules": '[{"conditions": [{"segment": "nobody"}]}]'}, None),
        ("details", {"tags": "a" * 200}, None),
        ("details", {"review_on": "tomorrow"}, "Enter a valid date."),
    ],
)
def test_wrong_argument_is_an_error_and_stays(
    name: str, arguments: dict[str, str], error: str | None, operator: Client, flag: FeatureFlag
) -> None:
    before = stored(flag)
    response = act(operator, flag_url(flag, name), **arguments, _reason="why")
    found = errors_of(response)
    assert found
    assert error is None or found == [error]
    assert stored(flag) == before
    assert 'value="why"' in response.content.decode()


# Details.


def test_details_are_cleared(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.update("new_checkout", {"review_on": "2030-01-01", "tags": ["a"], "owner": "ana"})
    act(operator, flag_url(flag, "details"), review_on="", tags="", owner="")
    stored = reload(flag)
    assert (stored.review_on, stored.tags, stored.owner) == (None, [], "")


# What each asks.


def test_percentage_of_the_url_opens_the_preview(operator: Client, flag: FeatureFlag) -> None:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(99)])
    response = operator.get(f"{flag_url(flag, 'rollout')}?percent=50")
    assert preview_of(response)["rollout"] == ["25 %", "50 %"]
    html = response.content.decode()
    assert Screen(html).focused.text == "Roll out to 50 %"
    assert state(flag) == (True, 25)
    operator.post(flag_url(flag, "rollout"), confirmed(response))
    assert state(flag) == (True, 50)


@pytest.mark.parametrize("text", ["101", "x", "", "%00"])
def test_unusable_percentage_of_the_url_is_an_error(
    text: str, operator: Client, flag: FeatureFlag
) -> None:
    response = operator.get(f"{flag_url(flag, 'rollout')}?percent={text}")
    assert errors_of(response)


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("rollout", {"percent": "45"}, ""),
        ("rollout", {"percent": "100"}, "new_checkout"),
        ("release", {}, "new_checkout"),
        ("allow", {"users": ",".join(f"user{n}" for n in range(99))}, "new_checkout"),
    ],
)
def test_action_that_gives_a_flag_to_most_users_in_production_types_the_key(  # noqa: PLR0913, PLR0917
    name: str,
    arguments: dict[str, str],
    key: str,
    operator: Client,
    flag: FeatureFlag,
    settings: Any,
) -> None:
    users = (User(pk=10_000 + number, username=f"user{number}") for number in range(99))
    User.objects.bulk_create(users)
    production(settings)
    url = flag_url(flag, name)
    before = state(flag), flag.allowed_users.count()
    response = operator.post(url, typed(operator, url, **arguments))
    assert (asks(response), text_to_type(response)) == (True, key)
    answer(operator, response, _typed_key="new")
    assert ((state(flag), flag.allowed_users.count()) == before) is bool(key)
    answer(operator, response, _typed_key=key)
    assert (state(flag), flag.allowed_users.count()) != before


def test_other_argument_than_the_page_has_shown_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    url = flag_url(flag, "rollout")
    data = confirmed(operator.get(f"{url}?percent=50"))
    assert asks(operator.post(url, {**data, "percent": "75"}))
    assert state(flag) == (True, 25)


def test_rollout_that_no_user_gains_is_written_at_once(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "rollout")
    response = operator.get(f"{url}?percent=26")
    assert "No user gains or loses the flag." in str(response.context["notes"])
    assert not response.context["preview"].asks
    [message, *_] = messages_of(operator.post(url, {"percent": "26"}, follow=True))
    assert "Afterwards 0 of " in message
    assert state(flag) == (True, 26)


def test_rollout_of_nobody_asks_nothing(operator: Client, flag: FeatureFlag) -> None:
    operator.post(flag_url(flag, "rollout"), {"percent": "0"})
    assert state(flag) == (True, 0)


def test_release_says_what_happens_to_rules(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.update("new_checkout", {"rules": [{**STAFF[0], "rollout_percent": 5}]})
    response = operator.get(flag_url(flag, "release"))
    assert "rules" in preview_of(response)
    operator.post(flag_url(flag, "release"), confirmed(response))
    assert reload(flag).rules == [{**STAFF[0], "rollout_percent": 100}]
    [entry, *_] = flag_history("new_checkout")
    assert {one.field for one in entry.differences} == {"rules", "rollout_percent"}


def test_rule_that_keeps_users_out_of_100_percent_is_said_before(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", {"rules": [{**STAFF[0], "rollout_percent": 5}]})
    notes = notes_of(operator.get(f"{flag_url(flag, 'rollout')}?percent=100"))
    assert "Rule 1 keeps 95 % of its users out, also at a rollout of 100 %." in notes


def test_rollout_of_a_flag_that_is_off_says_that_it_stays_off(
    operator: Client, flag: FeatureFlag
) -> None:
    url = f"{flag_url(flag, 'rollout')}?percent=25"
    note = f"“{flag.key}” is off, and stays off."
    assert note not in notes_of(operator.get(url))
    FeatureFlag.objects.update(enabled=False)
    assert note in notes_of(operator.get(url))


def test_unknown_attribute_is_said_before_and_after(operator: Client, flag: FeatureFlag) -> None:
    rules = [{"conditions": [{"attribute": "contry", "operator": "in", "values": ["DE"]}]}]
    response = act(operator, flag_url(flag, "rules"), rules=json.dumps(rules))
    assert any("contry" in text for text in messages_of(response)[1:])


# Kill.


def test_kill_wins_over_a_newer_change(operator: Client, flag: FeatureFlag) -> None:
    data = Screen(page(operator, flag_url(flag, "kill"))).fields()
    changes.flags.set_rollout("new_checkout", 75)
    operator.post(flag_url(flag, "kill"), data)
    assert state(flag) == (False, 75)


def test_page_of_a_kill_focuses_its_button_and_says_what_stays(
    operator: Client, flag: FeatureFlag, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    production(settings)
    html = page(operator, flag_url(flag, "kill"))
    assert Screen(html).part(".flagstaff-danger[autofocus]").text == "Kill new_checkout"
    assert "Rollout, rules and allowed users stay as they are." in html
    assert "_typed_key" not in html
    assert state(flag) == (True, 25)
    # The page does not depend on the count.
    monkeypatch.setattr(impact, "_count", lambda *_args: 1 / 0)
    html = page(operator, flag_url(flag, "kill"))
    assert "Kill new_checkout" in html
    assert "The users cannot be counted." in html


def test_receipt_of_a_rollout_has_the_percentages_once(operator: Client, flag: FeatureFlag) -> None:
    [message] = messages_of(act(operator, flag_url(flag, "rollout"), percent="26"))
    assert message.count("25 → 26 %") == 1


def test_turn_on_says_what_an_empty_percentage_means(operator: Client, flag: FeatureFlag) -> None:
    assert "If it is empty, the rollout stays as it is." in page(operator, flag_url(flag, "on"))


@pytest.mark.parametrize(("name", "enabled"), [("kill", False), ("on", True)])
def test_flag_that_somebody_has_changed_already_is_no_error(
    name: str, enabled: bool, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=enabled)
    assert "Nothing would change." in operator.get(flag_url(flag, name)).context["notes"]
    [message, *_] = messages_of(operator.post(flag_url(flag, name), follow=True))
    assert message == "Nothing was changed: “new_checkout” already has these values."
    assert not LogEntry.objects.exists()


# Other people.


@pytest.mark.parametrize("version", ["x", "-1", "9" * 31, "1,2"])
def test_unusable_version_writes_nothing(version: str, operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "rollout")
    data = confirmed(operator.get(f"{url}?percent=50"), expect_version=version)
    assert operator.post(url, data).status_code in {200, 404}
    assert state(flag) == (True, 25)


# The way back.


@pytest.mark.parametrize(
    ("back", "end"),
    [
        (f"{FLAGS}?q=a#flag-1", f"{FLAGS}?q=a#flag-1"),
        ("https://example.com/", None),
        ("//example.com/", None),
        ("", None),
    ],
)
def test_way_back_is_the_list_and_cannot_leave_the_site(
    back: str, end: str | None, operator: Client, flag: FeatureFlag
) -> None:
    url = toggle_url(flag, "kill", back)
    target = end or flag_url(flag)
    assert Screen(page(operator, url)).link("No, take me back") == target
    assert operator.post(url)["Location"] == target


# Add and delete.


def test_new_flag_is_off_and_its_message_leads_on(operator: Client) -> None:
    response = act(operator, f"{FLAGS}add/", key="beta", description="Beta", owner="ana")
    flag = FeatureFlag.objects.get()
    assert (flag.key, flag.enabled, flag.rollout_percent, flag.owner) == ("beta", False, 0, "ana")
    assert response.redirect_chain == [(flag_url(flag), 302)]
    assert LogEntry.objects.get().action_flag == ADDITION
    *links, (_undo, _url) = message_links(response)
    pages = [(url.partition("?")[0], text.removesuffix("…")) for text, url in links]
    assert pages == [
        (flag_url(flag, "rules"), "Rules for staff"),
        (flag_url(flag, "rules"), "Rules"),
        (flag_url(flag, "allowed-users"), "Allowed users"),
        (flag_url(flag, "on"), "Turn on"),
    ]
    # The first one has filled in the rule.
    data = typed(operator, links[0][1])
    operator.post(flag_url(flag, "rules"), data)
    assert [one["conditions"] for one in reload(flag).rules] == [STAFF[0]["conditions"]]


def test_message_of_a_new_flag_leads_to_what_the_user_may_do() -> None:
    client = staff("add_featureflag", "view_featureflag")
    response = act(client, f"{FLAGS}add/", key="beta")
    assert "href" not in messages_of(response)[0]
    assert undo_urls(response) == []


def test_page_that_adds_a_flag_begins_at_the_key(operator: Client) -> None:
    focused = Screen(page(operator, f"{FLAGS}add/?key=beta")).focused
    assert (focused["name"], focused["value"]) == ("key", "beta")


@pytest.mark.parametrize("key", ["", "a b", "new_checkout", "x" * 300])
def test_unusable_key_of_a_new_flag_is_an_error(
    key: str, operator: Client, flag: FeatureFlag
) -> None:
    response = act(operator, f"{FLAGS}add/", key=key, owner="ana")
    assert errors_of(response)
    assert 'value="ana"' in response.content.decode()
    assert FeatureFlag.objects.count() == 1


def test_deletion_says_who_has_the_flag_and_returns_to_the_list(
    operator: Client, flag: FeatureFlag, unused: None
) -> None:
    response = operator.get(flag_url(flag, "delete"))
    assert asks(response)
    text = Screen(response).text
    assert "On for 25 % of all users." in text
    assert "python manage.py flags references new_checkout" in text
    after = operator.post(flag_url(flag, "delete"), confirmed(response), follow=True)
    assert after.redirect_chain == [(FLAGS, 302)]


@pytest.mark.django_db(transaction=True)
def test_flag_in_use_is_deleted_by_its_key(operator: Client, flag: FeatureFlag) -> None:
    with transaction.atomic():
        collect_usage()
    evaluate("new_checkout")
    try:
        response = operator.get(flag_url(flag, "delete"))
        assert text_to_type(response) == "new_checkout"
        assert any("The code or browsers still use this." in one for one in notes_of(response))
        again = operator.post(flag_url(flag, "delete"), confirmed(response))
        assert problems_of(again) == ["Not confirmed: type “new_checkout” exactly."]
    finally:
        with transaction.atomic():
            delete_usage()
