"""The page that confirms a deletion warns of flags that are still evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, messages_of
from tests.support.stale_flags import KEY, collect_usage, evaluate, make_flag

pytestmark = pytest.mark.django_db


@pytest.fixture
def flag() -> FeatureFlag:
    """A flag that was evaluated 1,235 times."""
    flag = make_flag()
    collect_usage()
    evaluate(KEY, 40, times=100)
    evaluate(KEY, 3, times=1000)
    evaluate(KEY, times=235)
    return flag


def deletion(client: Client, flag: FeatureFlag) -> Any:
    return client.get(f"{FLAGS}{flag.pk}/delete/")


def test_page_says_how_often_when_and_where(admin_client: Client, flag: FeatureFlag) -> None:
    text, hosts = messages_of(deletion(admin_client, flag))
    assert text.startswith(
        f"The flag “{KEY}” was evaluated 1,235 times in the last 30 days, last at "
    )
    assert hosts == "In this time, workers ran on: web-1."


def test_days_are_those_of_the_setting(
    admin_client: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "STALE_DAYS": 2}
    [text, _hosts] = messages_of(deletion(admin_client, flag))
    assert "was evaluated 235 times in the last 2 days" in text


def test_flag_that_is_not_evaluated_has_no_warning(admin_client: Client) -> None:
    flag = make_flag()
    collect_usage()
    evaluate(KEY, 40)
    assert messages_of(deletion(admin_client, flag)) == []


def test_flags_are_deleted_without_the_usage(admin_client: Client, flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_usage RENAME TO gone")
    assert messages_of(deletion(admin_client, flag)) == []


def test_action_warns_of_each_flag(admin_client: Client, flag: FeatureFlag) -> None:
    other = make_flag("dark_mode")
    evaluate("dark_mode")
    data = {"action": "delete_selected", "_selected_action": [flag.pk, other.pk]}
    dark_mode, new_checkout, _hosts = messages_of(admin_client.post(FLAGS, data))
    assert dark_mode.startswith("The flag “dark_mode” was evaluated 1 time in the last 30 days")
    assert new_checkout.startswith(f"The flag “{KEY}” was evaluated 1,235 times")


def test_warning_names_a_single_day(admin_client: Client, flag: FeatureFlag, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "STALE_DAYS": 1}
    text, _hosts = messages_of(deletion(admin_client, flag))
    assert "times in the last 1 day, last at " in text


def test_deletion_itself_does_not_warn_again(admin_client: Client, flag: FeatureFlag) -> None:
    response = admin_client.post(f"{FLAGS}{flag.pk}/delete/", {"post": "yes"}, follow=True)
    assert not FeatureFlag.objects.exists()
    assert [text for text in messages_of(response) if "was evaluated" in text] == []


def test_warning_for_many_flags_is_one_sentence(admin_client: Client) -> None:
    collect_usage()
    flags = [make_flag(f"flag_{number}") for number in range(30)]
    for one in flags:
        evaluate(one.key)
    data = {"action": "delete_selected", "_selected_action": [one.pk for one in flags]}
    text, _hosts = messages_of(admin_client.post(FLAGS, data))
    assert text.startswith("In the last 30 days, these flags were evaluated: flag_0, flag_1, ")
