"""Every page of the admin under settings of other projects: time zones, languages and formats."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils.formats import reset_format_cache
from pytest_django import Settings

from flagstaff import changes
from flagstaff._text.times import full_time
from flagstaff.history import as_dicts, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    act,
    column,
    confirmed,
    flag_url,
    page,
    show,
    state,
    toggle_url,
)
from tests.support.admin_urls import urls_for
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.sql import rows as execute
from tests.support.terminals import flags
from tests.support.usage_rows import add_usage, delete_usage

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]

# Ids have this many digits, so that a localized id has a separator.
FIRST_ID = 12_345
VARIANTS: dict[str, dict[str, Any]] = {
    "German numbers and naive times": {
        "USE_THOUSAND_SEPARATOR": True,
        "LANGUAGE_CODE": "de",
        "USE_TZ": False,
        "TIME_ZONE": "Europe/Berlin",
    },
    "own formats": {"USE_THOUSAND_SEPARATOR": True, "FORMAT_MODULE_PATH": "tests.support.formats"},
}


Use = Callable[[dict[str, Any]], None]


@pytest.fixture
def use(settings: Settings) -> Iterator[Use]:
    """Changes settings of the project."""

    def change(changed: dict[str, Any]) -> None:
        for name, value in changed.items():
            setattr(settings, name, value)
        reset_format_cache()

    yield change
    reset_format_cache()
    # The connection has read the time zone.
    connection.close()


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, use: Use) -> str:
    """A project with these settings."""
    use(VARIANTS[request.param])
    return str(request.param)


@pytest.fixture(autouse=True)
def large_ids() -> None:
    """Makes new ids large."""
    for table in ("change", "featureflag", "keyvaluestore", "segment"):
        sequence = f"pg_get_serial_sequence('flagstaff_{table}', 'id')"
        execute(f"SELECT setval({sequence}, %s)", FIRST_ID)


@pytest.fixture
def rows(shop: Shop) -> dict[str, Any]:
    """A flag, a value and a segment; the first two with a history of several versions."""
    segment, flag = shop.segment("german"), shop.flag("new_checkout", enabled=False)
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    with transaction.atomic():
        changes.flags.set_rollout("new_checkout", 50)
        changes.values.set("gateway", "paypal")
    return {FLAGS: flag, VALUES: value, SEGMENTS: segment}


def test_each_page_opens(variant: str, operator: Client, rows: dict[str, Any]) -> None:
    for url in urls_for(rows.values()):
        assert operator.get(url, follow=True).status_code in {200, 403}, url
    for models, action in ((FLAGS, "delete"), (VALUES, "delete_selected")):
        data = {"action": action, "_selected_action": rows[models].pk}
        assert operator.post(models, data).status_code == 200


def test_pages_of_a_flag_write_what_was_chosen(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    flag = rows[FLAGS]
    for view, enabled in (("on", True), ("kill", False)):
        [link] = show(operator, FLAGS).attributes(f'a[href*="/{view}/"]', "href")
        url = urljoin(FLAGS, link)
        response = operator.post(url, Screen(page(operator, url)).fields())
        assert response["Location"].startswith(FLAGS)
        assert state(flag) == (enabled, 50)
    fields = {"kind": "ops", "description": "Two pages"}
    act(operator, flag_url(flag, "details"), **fields)
    assert FeatureFlag.objects.values(*fields).get() == fields
    alice = flag.allowed_users.get().pk
    for action, expected in (("disallow", []), ("allow", [alice])):
        act(operator, flag_url(flag, action), users=str(alice))
        assert list(flag.allowed_users.values_list("pk", flat=True)) == expected


def test_evaluations_of_a_flag_are_shown(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    # Another test may have opened it, with another time zone.
    connection.close()
    key = rows[FLAGS].key
    add_usage(key, "true")
    try:
        assert 'class="flagstaff-true"' in page(operator, f"{flag_url(rows[FLAGS])}?period=24h")
        assert key in page(operator)
    finally:
        with transaction.atomic():
            delete_usage()


@pytest.mark.parametrize(("name", "place"), [("undo", 0), ("restore", -1)])
def test_link_of_a_history_leads_to_a_page_that_undoes(
    name: str, place: int, variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    for models, field, stored in ((FLAGS, "rollout_percent", 25), (VALUES, "value", "stripe")):
        row, url = rows[models], f"{models}{rows[models].pk}/history/"
        row.refresh_from_db()
        # The first undo has undone the second one, too, if both were of one transaction.
        if getattr(row, field) != stored:
            address = show(operator, url).attributes(f'a[href*="?{name}="]', "href")[place]
            data = confirmed(operator.get(address))
            [(after, _status)] = operator.post(address, data, follow=True).redirect_chain
            assert after == operator.get(url)["Location"]
        row.refresh_from_db()
        assert getattr(row, field) == stored


def test_links_of_a_history_lead_to_related_and_older_entries(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    url = flag_url(rows[FLAGS], "history")
    versions = '[id^="version-"]'
    [related] = show(operator, url).attributes('a[href*="transaction="]', "href")
    shown = Screen(page(operator, related)).attributes(versions, "id")
    assert f"version-{value_version('gateway')}" in shown
    for percent in range(55):
        changes.flags.set_rollout("new_checkout", percent)
    [older] = show(operator, url).attributes('a[href*="before="]', "href")
    [before] = parse_qs(urlsplit(older).query)["before"]
    shown = Screen(page(operator, RECENT + older)).attributes(versions, "id")
    assert shown
    assert all(int(shown_name.removeprefix("version-")) < int(before) for shown_name in shown)


TIME = datetime(2026, 7, 9, 21, 7, 15, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"TIME_ZONE": "UTC"}, "July 9, 2026, 21:07:15 UTC"),
        ({"TIME_ZONE": "Europe/Berlin"}, "July 9, 2026, 23:07:15 CEST"),
        ({"TIME_ZONE": "Europe/Berlin", "USE_TZ": False}, "July 9, 2026, 23:07:15 CEST"),
        ({"TIME_ZONE": "Europe/Berlin", "LANGUAGE_CODE": "de"}, "9. Juli 2026, 23:07:15 CEST"),
        (
            {"TIME_ZONE": "UTC", "FORMAT_MODULE_PATH": "tests.support.formats"},
            "2026/07/09, 21:07:15 UTC",
        ),
    ],
    ids=str,
)
def test_time_of_change_has_seconds_and_time_zone(
    changed: dict[str, Any], shown: str, operator: Client, rows: dict[str, Any], use: Use
) -> None:
    use(changed)
    Change.objects.update(at=TIME)
    FeatureFlag.objects.update(changed_at=TIME)
    url = flag_url(rows[FLAGS], "history")
    html = page(operator, url)
    times = Screen(html).part("#content").texts("time")
    assert times
    assert all(time.startswith(f"{shown} · ") for time in times)
    [newest, *_others] = show(operator, url).attributes('a[href*="?restore="]', "href")
    preview = operator.get(newest)
    assert shown in str(preview.context["notes"])
    # The tooltips of the lists are those of the terminal: 500 localized ones take too long.
    assert f'title="{full_time(TIME)}"' in page(operator, FLAGS)
    if "USE_TZ" in changed:
        time = "2026-07-09T23:07:15+02:00"
        assert as_dicts(flag_history("new_checkout"))[0]["at"] == time
        assert json.loads(flags("list", "--json").out)[0]["changed_at"] == time
        assert time in flags("list").out.split("\t")


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({}, "1,200"),
        ({"LANGUAGE_CODE": "de"}, "1.200"),
        ({"FORMAT_MODULE_PATH": "tests.support.formats"}, "1_200"),
    ],
    ids=str,
)
def test_number_of_users_has_separators_of_the_language(
    changed: dict[str, Any], number: str, operator: Client, rows: dict[str, Any], use: Use
) -> None:
    use(changed)
    users = User.objects.bulk_create([User(username=f"user{n}") for n in range(1_200)])
    rows[FLAGS].allowed_users.set(users)
    [shown] = column(page(operator), "state")
    assert f" · + {number} " in shown
    for view in ("change", "history"):
        assert number in page(operator, flag_url(rows[FLAGS], view))
    assert f"{number} " in page(operator, toggle_url(rows[FLAGS], "on"))
