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
from django.test.utils import override_settings
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.timezone import get_fixed_timezone

from flagstaff import acting_as, changes
from flagstaff.models import Change, FeatureFlag
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.admin_pages import FLAGS, count_queries, page, staff
from tests.support.history_fixtures import GERMAN
from tests.support.plan_pages import text_of
from tests.support.sql import without_table

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

RECENT = "/admin/flagstaff/featureflag/changes/"


@pytest.fixture(autouse=True)
def shop() -> None:
    """A flag, a value and a segment."""
    changes.flags.create("new_checkout")
    changes.values.create("gateway", "stripe")
    changes.segments.create("german", GERMAN)


def url(**parameters: str) -> str:
    return f"{RECENT}?{urlencode({name.rstrip('_'): one for name, one in parameters.items()})}"


def keys(html: str) -> list[str]:
    """The key of each event, and its kind unless it is a flag, from top to bottom."""
    found = re.findall(
        r'<p class="flagstaff-event-change">(.*?)<span class="flagstaff-change', html, re.DOTALL
    )
    return [unescape(" ".join(strip_tags(cell).split())) for cell in found]


def test_changes_of_all_kinds_are_newest_first_with_links_times_and_reasons(
    operator: Client,
) -> None:
    ticket = "https://tickets.example.com/OPS-7"
    with acting_as("ana", reason=f"see {ticket}"):
        changes.flags.enable("new_checkout")
    html = page(operator, RECENT)
    flag = "new_checkout"
    assert keys(html) == [flag, "german segment", "gateway value", flag]
    assert "turned on" in text_of(html)
    assert f'see <a href="{ticket}" rel="noreferrer">{ticket}</a>' in html
    pk = FeatureFlag.objects.get().pk
    assert f'href="{FLAGS}{pk}/change/"' in html
    assert f'href="{FLAGS}{pk}/history/#version-' in html
    times = re.findall(r'<time datetime="([^"]+)" title="([^"]+)">([^<]+)</time>', html)
    assert len(times) == 4
    for machine, exact, short in times:
        assert re.search(r"[+-]\d\d:\d\d$", machine)
        assert re.search(r"\d\d:\d\d:\d\d [A-Z]+$", exact)
        assert re.fullmatch(r"\d\d:\d\d:\d\d · just now", short)


def test_deleted_and_renamed_keys_have_their_whole_history(operator: Client) -> None:
    pk = FeatureFlag.objects.get().pk
    changes.flags.allow("new_checkout", User.objects.create(username="alice"))
    changes.flags.delete("new_checkout")
    row = "new_checkout no longer exists"
    assert keys(page(operator, url(action="delete"))) == [row]
    html = page(operator, RECENT)
    [link] = set(re.findall(r'class="flagstaff-key" href="([^"]*new_checkout[^"]*)"', html))
    count = keys(html).count(row)
    assert count > 1
    for one in (unescape(link), f"{FLAGS}{pk}/history/"):
        response = operator.get(one, follow=True)
        assert keys(response.content.decode()) == [row] * count
    changes.flags.create("banner")
    changes.flags.update("banner", {"key": "header"})
    found = keys(page(operator, url(key="header", exact="1")))
    assert found == ["header", "banner"]
    # A flag that never was has none.
    response = operator.get(f"{FLAGS}987654321/history/?undo=1")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


FILTERS = {
    "username": ({"actor": "ana"}, ["gateway value"]),
    "part of a name": ({"actor": "Schm"}, ["gateway value"]),
    "actor without user": ({"actor": "deploy"}, ["new_checkout"]),
    "part of a key": ({"key": "CHECK"}, ["new_checkout", "new_checkout"]),
    "exact key": ({"key": "gateway", "exact": "1"}, ["gateway value", "gateway value"]),
    "part is not exact": ({"key": "gate", "exact": "1"}, []),
    "kind": ({"kind": "segment"}, ["german segment"]),
    "changed": ({"action": "change"}, ["new_checkout", "gateway value"]),
    "created value": ({"action": "create", "kind": "value"}, ["gateway value"]),
    "search of a key": ({"q": "CHECK"}, ["new_checkout", "new_checkout"]),
    "search of a person": ({"q": "Schm"}, ["gateway value"]),
    "search of nothing": ({"q": "nowhere"}, []),
    "unknown": ({"action": "no", "time": "no", "kind": "segment"}, ["german segment"]),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERS.values(), ids=FILTERS)
def test_filter_selects_changes(
    filters: dict[str, str], expected: list[str], operator: Client
) -> None:
    ana = User.objects.create(username="ana", first_name="Ana", last_name="Schmidt")
    with acting_as(ana):
        changes.values.set("gateway", "adyen")
    with acting_as("deploy", reason="Release 42"):
        changes.flags.enable("new_checkout")
    assert keys(page(operator, url(**filters))) == expected
    # Changes without an actor are those of the database user.
    assert len(keys(page(operator, url(actor=connection.settings_dict["USER"])))) == 3


def test_time_filter_selects_changes(operator: Client) -> None:
    for key, age in (("new_checkout", timedelta(days=2)), ("gateway", timedelta(hours=2))):
        Change.objects.filter(key=key).update(at=timezone.now() - age)
    for time, count in (("1h", 1), ("24h", 2), ("7d", 3)):
        assert len(keys(page(operator, url(time=time)))) == count


def test_from_and_to_select_changes_in_the_time_zone_of_the_project(operator: Client) -> None:
    noon = timezone.localtime(timezone.now()).replace(hour=12, minute=0, second=0, microsecond=0)
    noon -= timedelta(days=30)
    Change.objects.filter(key="gateway").update(at=noon)
    minute = timedelta(minutes=1)
    local = "%Y-%m-%dT%H:%M"
    inside = {"from": f"{noon - minute:{local}}", "to": f"{noon + minute:{local}}"}
    assert keys(page(operator, url(**inside))) == ["gateway value"]
    day = f"{noon:%Y-%m-%d}"
    assert keys(page(operator, url(**{"from": day, "to": day}))) == ["gateway value"]
    assert keys(page(operator, url(to=f"{noon - minute:{local}}"))) == []


@pytest.mark.parametrize(("days", "count"), [(-1, 3), (1, 0)])
def test_time_with_an_offset_that_postgresql_does_not_know_is_that_time(
    days: int, count: int, operator: Client
) -> None:
    offset = get_fixed_timezone(timedelta(hours=23, minutes=59))
    since = timezone.now().astimezone(offset) + timedelta(days=days)
    html = page(operator, url(**{"time": "range", "from": since.isoformat()}))
    assert len(keys(html)) == count


@pytest.mark.parametrize(
    ("name", "text"),
    [("from", "yesterday"), ("to", "9999-12-31"), ("from", "0001-01-01T00:00:00+23:59")],
)
def test_text_that_is_no_time_is_named_and_kept(name: str, text: str, operator: Client) -> None:
    html = page(operator, url(**{"time": "range", name: text}))
    expected = f"“{text}” is not a time. Write it as 2026-11-22 14:30 or 2026-11-22."
    assert expected in text_of(html)
    assert f'value="{text}"' in html
    assert keys(html) == []


def test_person_who_may_not_see_users_searches_by_username_only() -> None:
    zoe = User.objects.create(username="zoe", first_name="Chloe", email="zoe@corp.example")
    with acting_as(zoe):
        changes.flags.enable("new_checkout")
    client = staff("view_featureflag")
    for text in ("Chloe", "corp.example"):
        assert keys(page(client, url(actor=text))) == []
    assert keys(page(client, url(actor="zoe"))) == ["new_checkout"]
    text = text_of(page(client, url(actor="Chloe")))
    assert "No change matches the filters. Remove all filters" in text


def test_filter_that_is_set_is_a_link_without_it_and_the_forms_keep_it(operator: Client) -> None:
    html = page(operator, url(actor="ana", kind="flag", time="24h"))
    chips = re.findall(r'<a href="\?([^"]*)" aria-current="true" title', html)
    assert [unescape(chip) for chip in chips] == [
        "kind=flag&time=24h",
        "actor=ana&time=24h",
        "actor=ana&kind=flag",
    ]
    assert "Person: ana ✕ Kind: flag ✕ 24 hours ✕ Last hour 7 days" in text_of(html)
    key_form = html.partition('id="id_key"')[0].rpartition("<form")[2]
    assert '<input type="hidden" name="actor" value="ana">' in key_form


def test_pages_and_csv_have_each_change_once_with_the_same_queries(operator: Client) -> None:
    few = count_queries(operator, RECENT)
    for percent in range(1, 61):
        changes.flags.set_rollout("new_checkout", percent)
        changes.flags.create(f"flag_{percent}")
    assert count_queries(operator, RECENT) <= few
    of_flag = {"key": "new_checkout"}
    first = page(operator, url(**of_flag))
    [link] = re.findall(r'<a href="(\?[^"]*before=[^"]*)">Older', first)
    second = page(operator, f"{RECENT}{unescape(link)}")
    assert (len(keys(first)), len(keys(second))) == (50, 11)
    assert "rollout 10 → 11 %" in text_of(first)
    assert "rollout 9 → 10 %" in text_of(second)
    assert ">Older<" not in second
    rows = rows_of_csv(operator, **of_flag)
    assert [row["key"] for row in rows] == ["new_checkout"] * 61


def test_csv_has_no_formulas(operator: Client) -> None:
    with acting_as("=cmd()", reason="@sum"):
        changes.flags.enable("new_checkout")
    row = rows_of_csv(operator)[0]
    assert (row["actor"], row["reason"]) == ("'=cmd()", "'@sum")


def test_plan_is_among_the_changes(operator: Client) -> None:
    with acting_as("ana"):
        plans.create("new_checkout", ["10:1h", "50:1h"], guards=())
    assert "new_checkout rollout plan" in keys(page(operator, RECENT))
    assert set(keys(page(operator, url(kind="plan")))) == {"new_checkout rollout plan"}
    assert keys(page(operator, url(kind="plan", actor="bob"))) == []
    for text, is_found in (("CHECKOUT", True), ("ana", True), ("bob", False)):
        assert ("new_checkout rollout plan" in keys(page(operator, url(q=text)))) is is_found
    with override_settings(LANGUAGE_CODE="de"):
        text = text_of(page(operator, url(kind="plan")))
    assert "angelegt: created with the steps 10 % for 1 h, 50 % for 1 h" in text


def test_events_of_plans_before_the_oldest_change_are_on_the_next_pages(
    operator: Client,
) -> None:
    plan = plans.create("new_checkout", ["10:1h", "50:1h"], guards=())
    PlanEvent.objects.bulk_create(
        PlanEvent(
            plan=plan,
            kind=PlanEvent.Kind.HELD,
            message=f"event {number}",
            at=timezone.now() - timedelta(days=1, seconds=number),
        )
        for number in range(120)
    )
    seen, link = [], RECENT
    while link:
        html = page(operator, link)
        seen += re.findall(r"event ([0-9]+)<", html)
        [*links] = re.findall(r'href="([^"]*)">Older<', html)
        link = f"{RECENT}{unescape(links[0])}" if links else ""
    assert seen == [str(number) for number in range(120)]


# Who sees what.


def test_user_sees_only_kinds_with_a_permission(viewer: Client) -> None:
    html = page(viewer, RECENT)
    assert keys(html) == ["new_checkout"]
    assert 'value="segment"' not in html
    assert "Undo…" not in html
    client = staff("view_user", name="without")
    assert client.get(RECENT).status_code == 403
    assert RECENT not in page(client, "/admin/")


def test_page_is_linked_and_needs_a_history(operator: Client) -> None:

    assert f'<a href="{RECENT}">Recent changes</a>' in page(operator, FLAGS)
    with without_table("flagstaff_change"):
        html = page(operator, RECENT)
    assert "There is no history: it needs PostgreSQL and “manage.py migrate”." in unescape(html)


def rows_of_csv(client: Client, **filters: str) -> list[dict[str, str]]:
    response = client.get(url(format="csv", **filters))
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(StringIO(text)))
