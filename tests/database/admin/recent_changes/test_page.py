"""The page of recent changes: what it shows, its filters, its pages and its CSV."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from html import unescape
from io import StringIO
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_segment,
    create_value,
    delete,
    enable,
    set_rollout,
    set_value,
    update,
)
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.admin_pages import FLAGS, page, staff
from tests.support.history_fixtures import GERMAN

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

RECENT = "/admin/flagstaff/recentchange/"


@pytest.fixture(autouse=True)
def shop() -> None:
    """A flag, a value and a segment. Tests keep the history, so empty it."""
    Change.objects.all().delete()
    create("new_checkout")
    create_value("gateway", "stripe")
    create_segment("german", GERMAN)


def url(**parameters: str) -> str:
    return f"{RECENT}?{urlencode({name.rstrip('_'): one for name, one in parameters.items()})}"


def keys(html: str) -> list[str]:
    """The kind and the key of each row, from top to bottom."""
    found = re.findall(r'<th scope="row" class="flagstaff-wide">(.*?)</th>', html, re.DOTALL)
    return [unescape(" ".join(strip_tags(cell).split())) for cell in found]


def text_of(html: str) -> str:
    return unescape(" ".join(strip_tags(html).split()))


def test_changes_of_all_kinds_are_newest_first(admin_client: Client) -> None:
    enable("new_checkout")
    html = page(admin_client, RECENT)
    flag = "new_checkout flag"
    assert keys(html) == [flag, "german segment", "gateway value", flag]
    assert "enabled false → true" in text_of(html)


def test_url_in_a_reason_is_a_link(admin_client: Client) -> None:
    ticket = "https://tickets.example.com/OPS-7"
    with acting_as("ana", reason=f"see {ticket}"):
        enable("new_checkout")
    link = f'see <a href="{ticket}" rel="noreferrer">{ticket}</a>'
    assert link in page(admin_client, RECENT)


def test_times_have_seconds_and_the_time_zone(admin_client: Client) -> None:
    html = page(admin_client, RECENT)
    times = re.findall(r'<time datetime="([^"]+)">([^<]+)</time>', html)
    assert len(times) == 3
    for machine, person in times:
        assert re.search(r"[+-]\d\d:\d\d$", machine)
        assert re.search(r"\d\d:\d\d:\d\d [A-Z]+$", person)


def test_row_links_to_its_page_and_to_its_history(admin_client: Client) -> None:
    pk = FeatureFlag.objects.get().pk
    html = page(admin_client, url(key="new_checkout"))
    assert f'href="{FLAGS}{pk}/change/"' in html
    assert f'href="{FLAGS}{pk}/history/#version-' in html


def test_deleted_key_links_to_its_whole_history(admin_client: Client) -> None:
    enable("new_checkout")
    delete("new_checkout")
    html = page(admin_client, RECENT)
    [link] = set(re.findall(r'class="flagstaff-key" href="([^"]*new_checkout[^"]*)"', html))
    history = page(admin_client, unescape(link))
    assert keys(history) == ["new_checkout flag, no longer exists"] * 3


def test_history_of_a_deleted_flag_opens_its_changes(admin_client: Client) -> None:
    pk = FeatureFlag.objects.get().pk
    delete("new_checkout")
    response = admin_client.get(f"{FLAGS}{pk}/history/", follow=True)
    assert keys(response.content.decode()) == ["new_checkout flag, no longer exists"] * 2


def test_history_of_a_flag_that_never_was_is_not_found(admin_client: Client) -> None:
    response = admin_client.get(f"{FLAGS}987654321/history/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


FILTERS = {
    "username": ({"actor": "ana"}, ["gateway value"]),
    "part of a name": ({"actor": "Schm"}, ["gateway value"]),
    "actor without user": ({"actor": "deploy"}, ["new_checkout flag"]),
    "nobody": ({"actor": "nobody"}, []),
    "part of a key": ({"key": "CHECK"}, ["new_checkout flag", "new_checkout flag"]),
    "exact key": ({"key": "gateway", "exact": "1"}, ["gateway value", "gateway value"]),
    "part is not exact": ({"key": "gate", "exact": "1"}, []),
    "kind": ({"kind": "segment"}, ["german segment"]),
    "changed": ({"action": "change"}, ["new_checkout flag", "gateway value"]),
    "created value": ({"action": "create", "kind": "value"}, ["gateway value"]),
    "deleted": ({"action": "delete"}, []),
    "two": ({"actor": "ana", "kind": "flag"}, []),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS)
def test_filter_selects_changes(
    filters: dict[str, str], expected: list[str], admin_client: Client
) -> None:
    ana = User.objects.create(username="ana", first_name="Ana", last_name="Schmidt")
    with acting_as(ana):
        set_value("gateway", "adyen")
    with acting_as("deploy"):
        enable("new_checkout")
    assert keys(page(admin_client, url(**filters))) == expected


def test_unknown_action_and_time_do_not_filter(admin_client: Client) -> None:
    assert len(keys(page(admin_client, url(action="no", time="no")))) == 3


def test_person_filter_finds_the_database_user_of_changes_without_an_actor(
    admin_client: Client,
) -> None:
    with acting_as("deploy"):
        enable("new_checkout")
    user = connection.settings_dict["USER"]
    assert len(keys(page(admin_client, url(actor=user)))) == 3


def test_deleted_filter_finds_deletions(admin_client: Client) -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    delete("new_checkout")
    html = page(admin_client, url(action="delete"))
    assert keys(html) == ["new_checkout flag, no longer exists"]


TIMES = {
    "last hour": {"time": "1h"},
    "day": {"time": "24h"},
    "week": {"time": "7d"},
}


@pytest.mark.parametrize(("name", "count"), [("last hour", 1), ("day", 2), ("week", 3)])
def test_time_filter_selects_changes(name: str, count: int, admin_client: Client) -> None:
    ages = {"new_checkout": timedelta(days=2), "gateway": timedelta(hours=2)}
    for key, age in ages.items():
        Change.objects.filter(key=key).update(at=timezone.now() - age)
    assert len(keys(page(admin_client, url(**TIMES[name])))) == count


def test_from_and_to_select_changes_in_the_time_zone_of_the_project(admin_client: Client) -> None:
    noon = timezone.localtime(timezone.now()).replace(hour=12, minute=0, second=0, microsecond=0)
    noon -= timedelta(days=30)
    Change.objects.filter(key="gateway").update(at=noon)
    minute = timedelta(minutes=1)
    local = "%Y-%m-%dT%H:%M"
    inside = {"from": f"{noon - minute:{local}}", "to": f"{noon + minute:{local}}"}
    assert keys(page(admin_client, url(**inside))) == ["gateway value"]
    day = f"{noon:%Y-%m-%d}"
    assert keys(page(admin_client, url(**{"from": day, "to": day}))) == ["gateway value"]
    assert keys(page(admin_client, url(to=f"{noon - minute:{local}}"))) == []


def test_text_that_is_no_time_is_named_and_kept(admin_client: Client) -> None:
    html = page(admin_client, url(**{"time": "range", "from": "yesterday"}))
    assert "“yesterday” is not a time. Write it as 2026-11-22 14:30 or 2026-11-22." in text_of(html)
    assert 'value="yesterday"' in html
    assert keys(html) == []


def test_person_who_may_not_see_users_searches_by_username_only() -> None:
    zoe = User.objects.create(username="zoe", first_name="Chloe", email="zoe@corp.example")
    with acting_as(zoe):
        enable("new_checkout")
    client = staff("view_featureflag")
    for text in ("Chloe", "corp.example"):
        assert keys(page(client, url(actor=text))) == []
    assert keys(page(client, url(actor="zoe"))) == ["new_checkout flag"]


def test_last_day_of_the_calendar_is_named_and_kept(admin_client: Client) -> None:
    html = page(admin_client, url(to="9999-12-31"))
    assert "“9999-12-31” is not a time." in text_of(html)


def test_filters_without_a_match_offer_to_remove_them(admin_client: Client) -> None:
    html = page(admin_client, url(key="nothing"))
    assert "No change matches the filters. Remove all filters" in text_of(html)


def test_pages_have_each_change_once(admin_client: Client) -> None:
    for percent in range(1, 61):
        set_rollout("new_checkout", percent)
    first = page(admin_client, url(kind="flag"))
    [link] = re.findall(r'<a href="(\?[^"]*before=[^"]*)">Older', first)
    second = page(admin_client, f"{RECENT}{unescape(link)}")
    assert (len(keys(first)), len(keys(second))) == (50, 11)
    assert "rollout_percent 10 → 11" in text_of(first)
    assert "rollout_percent 9 → 10" in text_of(second)
    assert ">Older<" not in second


def test_queries_do_not_grow_with_changes(admin_client: Client) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, RECENT)
        return len(queries)

    few = count()
    for percent in range(1, 31):
        create(f"flag_{percent}", rollout_percent=percent)
    assert count() <= few


def test_secret_value_is_masked(admin_client: Client) -> None:
    KeyValueStore.objects.create(key="token", value="s3cret", secret=True)
    html = page(admin_client, url(key="token"))
    assert "s3cret" not in html
    assert "••••••" in html


def test_changes_of_one_transaction_name_each_other(admin_client: Client) -> None:
    with acting_as("deploy"):
        enable("new_checkout")
        set_value("gateway", "adyen")
    text = text_of(page(admin_client, RECENT))
    assert "changed together with gateway" in text
    assert "Undo all 2…" in text


def test_plan_is_among_the_changes(admin_client: Client) -> None:
    with acting_as("ana"):
        plans.create("new_checkout", ["10:1h", "50:1h"], guards=())
    assert "new_checkout rollout plan" in keys(page(admin_client, RECENT))
    assert set(keys(page(admin_client, url(kind="plan")))) == {"new_checkout rollout plan"}
    assert keys(page(admin_client, url(kind="plan", actor="bob"))) == []


def test_events_of_plans_before_the_oldest_change_are_on_the_next_pages(
    admin_client: Client,
) -> None:
    plan = plans.create("new_checkout", ["10:1h", "50:1h"], guards=())
    PlanEvent.objects.bulk_create(
        PlanEvent(
            plan=plan,
            kind=PlanEvent.Kind.HELD,
            text=f"event {number}",
            at=timezone.now() - timedelta(days=1, seconds=number),
        )
        for number in range(120)
    )
    seen, link = [], RECENT
    while link:
        html = page(admin_client, link)
        seen += re.findall(r"event ([0-9]+)<", html)
        [*links] = re.findall(r'href="([^"]*)">Older<', html)
        link = f"{RECENT}{unescape(links[0])}" if links else ""
    assert seen == [str(number) for number in range(120)]


@override_settings(LANGUAGE_CODE="de")
def test_events_of_plans_are_in_the_language_of_the_page(admin_client: Client) -> None:
    plans.create("new_checkout", ["10:1h", "50:1h"], guards=())
    text = text_of(page(admin_client, url(kind="plan")))
    assert "angelegt mit den Schritten 10 % für 1 h, 50 % für 1 h" in text


# Who sees what.


def test_user_sees_only_kinds_with_a_permission() -> None:
    client = staff("view_featureflag")
    html = page(client, RECENT)
    assert keys(html) == ["new_checkout flag"]
    assert 'value="segment"' not in html
    assert "Undo…" not in html


def test_user_without_a_permission_sees_nothing() -> None:
    client = staff("view_user")
    assert client.get(RECENT).status_code == 403
    assert RECENT not in page(client, "/admin/")


def test_names_of_allowed_users_need_a_permission() -> None:
    bob = User.objects.create(username="bob")
    add_allowed_users("new_checkout", bob)
    client = staff("view_featureflag")
    html = page(client, RECENT)
    assert "added 1 allowed user" in html
    assert "bob" not in html
    csv_text = b"".join(client.get(url(format="csv")).streaming_content).decode()  # type: ignore[attr-defined]
    [[users, *_], *_] = [
        [row["added"]] for row in csv.DictReader(StringIO(csv_text)) if "1" in row["added"]
    ]
    assert users == '{"count": 1, "pks": []}'


def test_index_and_list_of_flags_link_to_the_page(admin_client: Client) -> None:
    assert f'href="{RECENT}"' in page(admin_client, "/admin/")
    assert f'<a href="{RECENT}">Recent changes</a>' in page(admin_client, FLAGS)


def test_page_needs_a_history(admin_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_change RENAME TO hidden")
        try:
            html = page(admin_client, RECENT)
        finally:
            cursor.execute("ALTER TABLE hidden RENAME TO flagstaff_change")
    assert "There is no history: it needs PostgreSQL and “manage.py migrate”." in unescape(html)


# CSV.


def rows_of_csv(client: Client, **filters: str) -> list[dict[str, str]]:
    response = client.get(url(format="csv", **filters))
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(StringIO(text)))


def test_csv_has_all_pages_of_what_is_filtered(admin_client: Client) -> None:
    for percent in range(1, 61):
        set_rollout("new_checkout", percent)
    rows = rows_of_csv(admin_client, key="new_checkout")
    assert len(rows) == 61
    assert {row["key"] for row in rows} == {"new_checkout"}


def test_csv_has_no_formulas(admin_client: Client) -> None:
    with acting_as("=cmd()", reason="@sum"):
        enable("new_checkout")
    row = rows_of_csv(admin_client)[0]
    assert (row["actor"], row["reason"]) == ("'=cmd()", "'@sum")


def test_csv_masks_secrets(admin_client: Client) -> None:
    KeyValueStore.objects.create(key="token", value="s3cret", secret=True)
    update_text = str(rows_of_csv(admin_client))
    assert "s3cret" not in update_text


def test_renamed_flag_has_its_whole_history(admin_client: Client) -> None:
    update("new_checkout", {"key": "checkout"})
    found = keys(page(admin_client, url(key="checkout", exact="1")))
    assert found == ["checkout flag", "new_checkout flag"]
