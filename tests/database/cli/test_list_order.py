"""`manage.py flags list --sort`, `--limit`, `--search` and `--changed-since`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from flagstaff.models import FeatureFlag
from tests.support.terminals import OPENED, delete_usage, document, flags, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]


def listed(*arguments: str) -> list[str]:
    return [record["key"] for record in document("list", *arguments)]


def change_one(key: str, minutes: int) -> None:
    """Sets the time of the last change, in minutes after the others."""
    FeatureFlag.objects.filter(key=key).update(changed_at=OPENED + timedelta(minutes=minutes))


def test_list_sorted_by_change_has_the_newest_first() -> None:
    change_one("search_v2", 2)
    change_one("dark_mode", 1)
    assert listed("--sort", "changed", "--limit", "3") == [
        *("search_v2", "dark_mode"),
        "beta_reviews",
    ]


def test_list_sorted_by_rollout_has_the_highest_first_and_then_keys() -> None:
    assert listed("--sort", "rollout") == [
        *("dark_mode", "summer_banner", "new_checkout"),
        *("beta_reviews", "search_v2"),
    ]


def test_list_sorted_by_evaluation_shows_the_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_usage SET hour = now(), last_evaluated_at = now();"
            "UPDATE flagstaff_usage SET last_evaluated_at = now() + interval '1 s' "
            "WHERE key = 'new_checkout';"
            "UPDATE flagstaff_usage_worker SET last_seen_at = now()"
        )
    first, second, third, *_ = document("list", "--sort", "evaluated")
    assert (first["key"], second["key"]) == ("new_checkout", "dark_mode")
    assert first["last_evaluated_at"] is not None
    assert third["last_evaluated_at"] is None
    assert "LAST EVALUATED" in typed("flags list --sort evaluated")
    assert "LAST EVALUATED" not in typed("flags list")


def test_list_sorted_by_evaluation_without_usage_is_an_error() -> None:
    delete_usage()
    assert run("list --sort evaluated").status == 1


def test_list_with_a_limit_says_how_many_there_are() -> None:
    assert typed("flags list --limit 2").endswith("2 of 5 flags; a larger --limit shows more\n")
    assert flags("list", "--limit", "2").err == ""
    assert "of 5 flags" not in typed("flags list --limit 5")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("CHECK", ["new_checkout"]),
        ("everybody", ["beta_reviews"]),
        ("%", []),
        ("_v", ["search_v2"]),
    ],
)
def test_list_searches_keys_and_descriptions(text: str, keys: list[str]) -> None:
    assert listed("--search", text) == keys


def test_list_has_flags_that_were_changed_since_a_time() -> None:
    change_one("search_v2", 2)
    since = (OPENED + timedelta(minutes=1)).isoformat()
    assert listed("--changed-since", since) == ["search_v2"]
    assert listed("--changed-since", since, "--state", "all") == []
    assert run("list --changed-since soon").status == 1
