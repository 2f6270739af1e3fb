"""The sentence about a form that is not saved yet: who would gain or lose the flag."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.changes import impact
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    browser_form,
    bucket_of,
    confirmed,
    flag_url,
    form_data,
    page,
    shown_form,
    staff,
    state,
)
from tests.support.sql import rows as execute

pytestmark = pytest.mark.django_db

# Matches all users but the administrator.
CUSTOMER = {"attribute": "is_staff", "operator": "in", "values": [False]}
USERS = 40
CUSTOMERS = {"rules-rows": None, "rules": json.dumps([{"conditions": [CUSTOMER]}])}


@pytest.fixture(autouse=True)
def users(operator: Client) -> None:
    # Fixed primary keys: of drawn ones, all may be outside of 25 %.
    pks = range(10**6, 10**6 + USERS - 1)
    User.objects.bulk_create([User(pk=pk, username=f"user{pk}") for pk in pks])


def below(percent: int) -> int:
    """Returns how many users a rollout of the flag includes."""
    pks = User.objects.values_list("pk", flat=True)
    return sum(bucket_of("new_checkout", pk) < percent for pk in pks)


def sentence(client: Client, flag: FeatureFlag, **edits: Any) -> str:
    """Posts the form as the script does, and returns the sentence."""
    version = flag_version(flag.key)
    response = client.post(flag_url(flag, "impact"), browser_form(client, flag, **edits))
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert flag_version(flag.key) == version
    text: str = response.json()["text"]
    return text


def shown_sentence(html: str) -> str:
    [text] = re.findall(r"data-flagstaff-impact=[^>]*>(.*?)</span>", html, re.DOTALL)
    return unescape(text)


def counted(client: Client, flag: FeatureFlag, **edits: Any) -> Any:
    """Presses the button that counts without a script."""
    data = browser_form(client, flag, **edits) | {"_count": "1"}
    return client.post(flag_url(flag), data)


OFF = {"enabled": False}
NOW = "{n25} of 40 users have the flag now."
NONE_LEFT = "{n25} users lose the flag. Afterwards 0 of 40 users have it."
ANYBODY = "Everybody who is not logged in gains the flag."


@pytest.mark.parametrize(
    ("stored", "edits", "text"),
    [
        # What decides nothing, and what the form refuses.
        ({}, {}, NOW),
        ({}, {"description": "One page", "_reason": "release"}, NOW),
        ({}, {"rollout_percent": "many", "description": "x" * 100_000}, NOW),
        (
            {},
            {"rollout_percent": 80},
            "25 → 80 %: {gain} users gain the flag. Afterwards {n80} of 40 users have it.",
        ),
        ({}, {"enabled": None}, NONE_LEFT),
        ({}, {"enabled": None, "rollout_percent": "101"}, NONE_LEFT),
        (
            OFF,
            {"enabled": "on"},
            "{n25} users gain the flag. Afterwards {n25} of 40 users have it.",
        ),
        (OFF, {"rollout_percent": 80}, "If the flag were on, {n80} of 40 users would have it."),
        ({}, CUSTOMERS, "Afterwards {customers} of 40 users have it. " + ANYBODY),
        (OFF, CUSTOMERS, "If the flag were on, {customers} of 40 users would have it."),
        ({}, {"bucket_by": "visitor"}, "Rules on visitor are not counted."),
    ],
)
def test_sentence_says_what_the_edits_do_to_the_users(
    stored: dict[str, Any], edits: dict[str, Any], text: str, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(**stored)
    n25, n80 = below(25), below(80)
    administrator = bucket_of("new_checkout", User.objects.get(is_staff=True).pk)
    expected = text.format(n25=n25, n80=n80, gain=n80 - n25, customers=39 + (administrator < 25))
    found = sentence(operator, flag, **edits)
    assert found.endswith(expected)
    # Nothing is before a whole sentence.
    assert found == expected or text.startswith(("Afterwards", "Rules on"))


# Who may count.


def test_sentence_needs_a_post_permission_and_a_flag(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "impact")
    assert operator.get(url).status_code == 403
    assert operator.post(url).status_code == 200
    assert state(flag) == (True, 25)
    assert operator.post(f"{FLAGS}{flag.pk + 1}/impact/", {}).status_code == 404
    assert staff("view_keyvaluestore").post(url, {}).status_code == 403


def test_viewer_sees_who_has_the_flag_and_toggler_the_impact_of_an_edit(
    viewer: Client, flag: FeatureFlag
) -> None:
    response = viewer.post(flag_url(flag, "impact"), {"rollout_percent": "0"})
    assert response.json()["text"].endswith("users have the flag now.")
    client = staff("view_featureflag", "toggle_featureflag", name="toggler")
    text = sentence(client, flag, rollout_percent=0)
    assert text.endswith(f"Afterwards 0 of {User.objects.count()} users have it.")
    assert text.startswith("25 → 0 %: ")


def test_small_numbers_are_hidden_without_the_permission_to_view_users(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=0)
    flag.allowed_users.set(User.objects.order_by("-pk")[:3])
    names = ("view_featureflag", "change_featureflag")
    text = sentence(staff(*names, name="changer"), flag)
    assert text.startswith("fewer than 5 of ")
    text = sentence(staff(*names, "view_user", name="reader"), flag)
    assert text.startswith("3 of ")


# Without a script.


def test_page_says_where_a_script_counts_unless_the_flag_is_new(
    operator: Client, flag: FeatureFlag
) -> None:
    html = page(operator, flag_url(flag))
    assert f'data-flagstaff-impact="{flag_url(flag, "impact")}"' in html
    assert 'src="/static/flagstaff/impact.js"' in html
    assert re.search(r'<noscript><button type="submit"[^>]* name="_count"', html)
    assert not re.search('flagstaff-impact"|name="_count"', page(operator, f"{FLAGS}add/"))


def test_button_counts_and_keeps_what_was_typed(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version(flag.key)
    response = counted(operator, flag, rollout_percent=80, description="One", _reason="release")
    assert not asks(response)
    assert shown_sentence(response.content.decode()).startswith("25 → 80 %: ")
    shown = form_data(response)
    assert (shown["rollout_percent"], shown["description"]) == ("80", "One")
    assert shown["_reason"] == "release"
    invalid = counted(operator, flag, rollout_percent="many")
    html = invalid.content.decode()
    assert shown_sentence(html) == f"{below(25)} of 40 users have the flag now."
    assert 'value="many"' in html
    for page_of_count in (response, invalid):
        assert page_of_count.context["adminform"].form.errors == {}
    assert flag_version(flag.key) == version
    # What is saved then is what was typed.
    assert asks(operator.post(flag_url(flag), shown_form(response)))


def test_head_of_an_edited_page_shows_the_stored_state(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag, rollout_percent=80, enabled=None)
    for more in ({"_count": "1"}, {"kind": "x"}):  # An error shows the form again.
        html = operator.post(flag_url(flag), data | more).content.decode()
        [summary] = re.findall(r'<p class="flagstaff-summary">(.*?)</p>', html)
        assert summary == "On for 25 % of all users."


# What cannot be counted.


def test_database_that_cannot_count_does_not_prevent_a_save(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        execute("SELECT 1 / 0")

    monkeypatch.setattr(impact, "_batches", fail)
    data = browser_form(operator, flag, **CUSTOMERS)
    response = operator.post(flag_url(flag), data)
    assert asks(response)
    assert operator.post(flag_url(flag), confirmed(response)).status_code == 302
    flag.refresh_from_db()
    assert flag.rules == [{"conditions": [CUSTOMER]}]
