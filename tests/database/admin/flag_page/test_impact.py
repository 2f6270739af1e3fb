"""The sentence about a form that is not saved yet: who would gain or lose the flag."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from flagstaff._engine import impact
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    browser_form,
    confirmed,
    flag_url,
    form_data,
    page,
    shown_form,
    staff,
)

pytestmark = pytest.mark.django_db

# Matches all users but the administrator.
CUSTOMER = {"attribute": "is_staff", "operator": "in", "values": [False]}
USERS = 40
CUSTOMERS = {"rules-rows": None, "rules": json.dumps([{"conditions": [CUSTOMER]}])}


@pytest.fixture(autouse=True)
def users(operator: Client) -> None:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(USERS - 1)])


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def below(percent: int) -> int:
    """Returns how many users a rollout of the flag includes."""
    pks = User.objects.values_list("pk", flat=True)
    buckets = (int(sha256(f"new_checkout:{pk}".encode()).hexdigest(), 16) % 100 for pk in pks)
    return sum(bucket < percent for bucket in buckets)


def users_text(count: int, verb: str) -> str:
    return f"{count} user {verb}s the flag." if count == 1 else f"{count} users {verb} the flag."


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


def test_form_without_edits_says_who_has_the_flag(operator: Client, flag: FeatureFlag) -> None:
    assert sentence(operator, flag) == f"{below(25)} of 40 users have the flag now."


def test_edit_that_decides_nothing_says_who_has_the_flag(
    operator: Client, flag: FeatureFlag
) -> None:
    text = sentence(operator, flag, description="One page", _reason="release")
    assert text == f"{below(25)} of 40 users have the flag now."


def test_higher_rollout_says_how_many_users_gain(operator: Client, flag: FeatureFlag) -> None:
    gain = users_text(below(80) - below(25), "gain")
    assert sentence(operator, flag, rollout_percent=80) == (
        f"25 → 80 %: {gain} Afterwards {below(80)} of 40 users have it."
    )


def test_lower_rollout_says_how_many_users_lose(operator: Client, flag: FeatureFlag) -> None:
    lose = users_text(below(25), "lose")
    assert sentence(operator, flag, rollout_percent=0) == (
        f"25 → 0 %: {lose} Afterwards 0 of 40 users have it."
    )


def test_flag_that_is_turned_off_says_how_many_users_lose(
    operator: Client, flag: FeatureFlag
) -> None:
    lose = users_text(below(25), "lose")
    assert sentence(operator, flag, enabled=None) == f"{lose} Afterwards 0 of 40 users have it."


def test_flag_that_is_turned_on_says_how_many_users_gain(
    operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=False)
    gain = users_text(below(25), "gain")
    text = sentence(operator, flag, enabled="on")
    assert text == f"{gain} Afterwards {below(25)} of 40 users have it."


@pytest.mark.parametrize("percent", [25, 80])
def test_flag_that_stays_off_says_who_would_have_it(
    percent: int, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert sentence(operator, flag, rollout_percent=percent) == (
        f"If the flag were on, {below(percent)} of 40 users would have it."
    )


def test_edited_rules_are_counted(operator: Client, flag: FeatureFlag) -> None:
    after = below_with_customers()
    gain = users_text(after - below(25), "gain")
    text = sentence(operator, flag, **CUSTOMERS)
    assert text == f"{gain} Afterwards {after} of 40 users have it."


def below_with_customers() -> int:
    """Returns how many users have the flag by its rollout, or because they are customers."""
    admin = User.objects.get(is_staff=True).pk
    bucket = int(sha256(f"new_checkout:{admin}".encode()).hexdigest(), 16) % 100
    return 40 if bucket < 25 else 39


def test_edited_rules_of_a_flag_that_stays_off_are_counted(
    operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=False)
    text = sentence(operator, flag, rollout_percent=25, **CUSTOMERS)
    expected = below_with_customers()
    assert text == f"If the flag were on, {expected} of 40 users would have it."


def test_removed_rules_are_counted(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [CUSTOMER]}], rollout_percent=0)
    edit = {"rules-rows": None, "rules": "[]"}
    data = {
        name: value
        for name, value in browser_form(operator, flag, **edit).items()
        if not name.startswith("rules-")
    }
    text = operator.post(flag_url(flag, "impact"), data).json()["text"]
    assert text == "39 users lose the flag. Afterwards 0 of 40 users have it."


def test_another_unit_cannot_be_counted(operator: Client, flag: FeatureFlag) -> None:
    assert sentence(operator, flag, bucket_by="visitor") == "The users cannot be counted."


def test_rollout_of_visitors_cannot_be_counted(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(bucket_by="visitor")
    assert sentence(operator, flag) == "The users cannot be counted."
    assert sentence(operator, flag, rollout_percent=80) == "The users cannot be counted."


def test_invalid_inputs_are_left_out(operator: Client, flag: FeatureFlag) -> None:
    text = sentence(operator, flag, rollout_percent="many", description="x" * 100_000)
    assert text == f"{below(25)} of 40 users have the flag now."
    lose = users_text(below(25), "lose")
    text = sentence(operator, flag, rollout_percent="101", enabled=None)
    assert text == f"{lose} Afterwards 0 of 40 users have it."


def test_empty_post_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    assert operator.post(flag_url(flag, "impact")).status_code == 200
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 25)


def test_numbers_have_separators(operator: Client, flag: FeatureFlag, settings: Any) -> None:
    User.objects.bulk_create([User(username=f"more{number}") for number in range(1_200)])
    settings.LANGUAGE_CODE = "de"
    assert "1.240" in sentence(operator, flag)


# Who may count.


def test_sentence_needs_permission_to_view(flag: FeatureFlag) -> None:
    other = staff("view_keyvaluestore")
    assert other.post(flag_url(flag, "impact"), {}).status_code == 403


def test_sentence_needs_a_post(operator: Client, flag: FeatureFlag) -> None:
    assert operator.get(flag_url(flag, "impact")).status_code == 403


def test_sentence_about_a_missing_flag_is_not_found(operator: Client, flag: FeatureFlag) -> None:
    assert operator.post(f"{FLAGS}77/impact/", {}).status_code == 404


def test_sentence_needs_a_csrf_token(admin_user: User, flag: FeatureFlag) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(flag_url(flag, "impact"), {}).status_code == 403


def test_user_who_may_only_toggle_sees_the_impact_of_an_edit(flag: FeatureFlag) -> None:
    client = staff("view_featureflag", "toggle_featureflag")
    total = User.objects.count()
    text = sentence(client, flag, rollout_percent=0)
    assert text.endswith(f"Afterwards 0 of {total} users have it.")
    assert text.startswith("25 → 0 %: ")


def test_viewer_sees_who_has_the_flag(flag: FeatureFlag) -> None:
    client = staff("view_featureflag")
    response = client.post(flag_url(flag, "impact"), {"rollout_percent": "0"})
    assert response.json()["text"].endswith("users have the flag now.")


# Without a script.


def test_page_says_where_a_script_counts(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, flag_url(flag))
    assert f'data-flagstaff-impact="{flag_url(flag, "impact")}"' in html
    assert 'src="/static/flagstaff/impact.js"' in html
    assert re.search(r'<noscript><button type="submit"[^>]* name="_count"', html)


def test_new_flag_has_nothing_to_count(operator: Client) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert "data-flagstaff-impact" not in html
    assert 'name="_count"' not in html


def test_button_counts_and_keeps_what_was_typed(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version(flag.key)
    response = counted(operator, flag, rollout_percent=80, description="One", _reason="release")
    assert not asks(response)
    html = response.content.decode()
    assert shown_sentence(html).startswith("25 → 80 %: ")
    shown = form_data(response)
    assert (shown["rollout_percent"], shown["description"]) == ("80", "One")
    assert shown["_reason"] == "release"
    assert response.context["adminform"].form.errors == {}
    assert flag_version(flag.key) == version
    # What is saved then is what was typed.
    assert asks(operator.post(flag_url(flag), shown_form(response)))


def test_button_with_an_invalid_input_shows_no_error_yet(
    operator: Client, flag: FeatureFlag
) -> None:
    response = counted(operator, flag, rollout_percent="many")
    assert response.context["adminform"].form.errors == {}
    html = response.content.decode()
    assert shown_sentence(html) == f"{below(25)} of 40 users have the flag now."
    assert 'value="many"' in html


def test_head_of_a_counted_page_shows_the_stored_state(operator: Client, flag: FeatureFlag) -> None:
    html = counted(operator, flag, rollout_percent=80, enabled=None).content.decode()
    [summary] = re.findall(r'<p class="flagstaff-summary">(.*?)</p>', html)
    assert summary == "On for 25 % of all users."


def test_page_with_errors_shows_the_stored_state_above(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag, rollout_percent=80, enabled=None, kind="x")
    html = operator.post(flag_url(flag), data).content.decode()
    [summary] = re.findall(r'<p class="flagstaff-summary">(.*?)</p>', html)
    assert summary == "On for 25 % of all users."


# What cannot be counted.


def test_database_that_cannot_count_does_not_prevent_a_save(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(impact, "_users", fail)
    data = browser_form(operator, flag, **CUSTOMERS)
    response = operator.post(flag_url(flag), data)
    assert asks(response)
    assert operator.post(flag_url(flag), confirmed(response)).status_code == 302
    flag.refresh_from_db()
    assert flag.rules == [{"conditions": [CUSTOMER]}]
