"""The page of changes, which is also the history of each row: its rows, filters, pages and CSV."""

import csv
import re
from datetime import timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone
from django.utils.timezone import get_fixed_timezone

from flagstaff import acting_as, changes, experiments
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.changes import events
from flagstaff.experiments.admin.experiments import ExperimentAdmin
from flagstaff.experiments.models import Experiment
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    content_of,
    count_queries,
    event_keys,
    events_of,
    flag_url,
    page,
    restore_url,
    staff,
    undo_url,
)
from tests.support.plans import drive_recently
from tests.support.screen import Screen
from tests.support.shop import GERMAN, Shop
from tests.support.sql import rows as execute
from tests.support.sql import statements_of, without_table

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"


@pytest.fixture(autouse=True)
def rows() -> None:
    """A flag, a value and a segment."""
    changes.flags.create(KEY)
    changes.values.create("gateway", "stripe")
    changes.segments.create("german", [GERMAN])


def test_changes_of_all_kinds_are_newest_first_with_authors_reasons_and_times(
    operator: Client,
) -> None:
    ticket = "https://tickets.example.com/OPS-7"
    with acting_as("<b>ana</b>", reason=f"see {ticket} <script>", source="<i>"):
        changes.flags.set_rollout(KEY, 50)
    html = page(operator, RECENT)
    assert event_keys(html) == [KEY, "german segment", "gateway value", KEY]
    newest = events_of(html)[0]
    assert re.fullmatch(
        f"{KEY} rollout 0 → 50 % by <b>ana</b>, <i> · "
        rf".*, \d\d:\d\d:\d\d \S+ · just now · “see {ticket} <script>”",
        newest,
    )
    assert f'see <a href="{ticket}" rel="noreferrer">{ticket}</a>' in html
    screen = Screen(html)
    assert not screen.all("#content script, #content b, #content i")
    assert f'href="{FLAGS}{FeatureFlag.objects.get().pk}/change/"' in html
    times = screen.all("time")
    assert len(times) == 4
    for time in times:
        assert re.search(r"[+-]\d\d:\d\d$", time["datetime"])
        # The name of the time zone is letters or an offset.
        assert re.search(r", \d\d:\d\d:\d\d ([A-Z]+|[+-]\d{4}) · just now$", time.text)


def test_change_without_an_actor_says_how_it_was_made(operator: Client) -> None:
    FeatureFlag.objects.update(rollout_percent=50)
    with acting_as(None, source="command (root@web-1)"):
        changes.flags.set_rollout(KEY, 75)
    by_script, by_sql, *_others = events_of(page(operator, RECENT))
    user = connection.settings_dict["USER"]
    assert f"rollout 0 → 50 % database user {user}, by SQL or code · " in by_sql
    assert "rollout 50 → 75 % no name given, in the terminal (root@web-1) · " in by_script
    assert [by_script] == events_of(page(operator, RECENT, actor="root@web-1"))


def test_history_of_a_row_is_the_page_of_its_changes(operator: Client) -> None:
    flag = FeatureFlag.objects.get()
    changes.flags.update(KEY, {"key": "header"})
    response = operator.get(f"{FLAGS}{flag.pk}/history/")
    address = f"{RECENT}?key=header&kind=flag"
    assert (response.status_code, response["Location"]) == (302, address)
    assert event_keys(page(operator, address)) == ["header", KEY]
    other = staff("view_keyvaluestore")
    assert other.get(f"{FLAGS}{flag.pk}/history/").status_code == 403
    # A flag that never was has none.
    response = operator.get(f"{FLAGS}987654321/history/?undo=1")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_deleted_row_has_its_whole_history(operator: Client) -> None:
    flag = FeatureFlag.objects.get()
    changes.flags.allow(KEY, User.objects.create(username="alice"))
    changes.flags.delete(KEY)
    row = f"{KEY} no longer exists"
    html = page(operator, RECENT)
    count = event_keys(html).count(row)
    assert count > 1
    [link] = {*Screen(html).attributes('a.flagstaff-key[href*="new_checkout"]', "href")}
    for address in (link, f"{FLAGS}{flag.pk}/history/"):
        response = operator.get(address, follow=True)
        assert event_keys(response.content.decode()) == [row] * count


def test_undone_change_says_so_and_cannot_be_undone_again(operator: Client) -> None:
    change = changes.flags.set_rollout(KEY, 50).version
    with acting_as("ana"):
        back = changes.flags.undo(KEY, change).version
    for address in (RECENT, f"{RECENT}?kind=flag"):
        html = page(operator, address)
        newest, undone, *_others = events_of(html)
        assert re.search(r"undone .*, \d\d:\d\d:\d\d \S+, by ana, in code$", undone)
        assert "undone" not in newest
        assert f'href="{undo_url(back)}' in html
        assert f'href="{undo_url(change)}' not in html
        assert f'value="{change}"' not in html
    html = page(operator, flag_url(FeatureFlag.objects.get(), "history"))
    assert f'href="{restore_url(change)}' in html
    assert f'href="{restore_url(back)}' not in html
    # Also if its undo is on the page before.
    [undone, *_others] = events_of(page(operator, RECENT, kind="flag", before=str(back)))
    assert re.search(r"undone .*, \d\d:\d\d:\d\d \S+, by ana, in code$", undone)


def test_missing_entries_are_counted(operator: Client) -> None:
    with without_table("flagstaff_change"):
        changes.flags.set_rollout(KEY, 5)
        FeatureFlag.objects.update(rollout_percent=50)
    assert "2 recent changes are not in the history" in page(operator, RECENT)
    execute("UPDATE flagstaff_token SET entry_missing = false")
    assert "not in the history" not in page(operator, RECENT)


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"actor": "ana.schmidt"}, ["gateway value"]),
    ({"actor": "schmi"}, ["gateway value"]),
    ({"actor": "deploy"}, [KEY]),
    ({"key": "gateway"}, ["gateway value", "gateway value"]),
    ({"key": "gate"}, []),
    ({"kind": "segment"}, ["german segment"]),
    ({"q": "CHECK"}, [KEY, KEY]),
    ({"q": "schmi"}, ["gateway value"]),
    ({"q": "release"}, [KEY]),
    ({"q": "nowhere"}, []),
    ({"transaction": "987654321"}, []),
]


def test_filter_selects_changes(operator: Client) -> None:
    ana = User.objects.create(username="ana.schmidt")
    with acting_as(ana):
        changes.values.set("gateway", "adyen")
    with acting_as("deploy", reason="Release 42"):
        changes.flags.enable(KEY)
    assert [
        (filters, event_keys(page(operator, RECENT, **filters))) for filters, _keys in FILTERS
    ] == FILTERS
    # Changes without an actor are those of the database user.
    assert len(event_keys(page(operator, RECENT, actor=connection.settings_dict["USER"]))) == 3
    shown = content_of(page(operator, RECENT, actor="ana", key=KEY, kind="flag"))
    assert f"Filters: Person ana, Key {KEY}, Kind flag" in shown


def test_time_filter_selects_changes(operator: Client) -> None:
    for key, age in ((KEY, timedelta(days=2)), ("gateway", timedelta(hours=2))):
        Change.objects.filter(key=key).update(at=timezone.now() - age)
    periods = Screen(page(operator, RECENT)).attributes('a[href^="?from="]', "href")
    counts = [len(event_keys(page(operator, f"{RECENT}{period}"))) for period in periods]
    assert counts == [1, 2, 3]


def test_from_and_to_select_changes_in_the_time_zone_of_the_project(operator: Client) -> None:
    noon = timezone.localtime(timezone.now()).replace(hour=12, minute=0, second=0, microsecond=0)
    noon -= timedelta(days=30)
    Change.objects.filter(key="gateway").update(at=noon)
    minute, local = timedelta(minutes=1), "%Y-%m-%dT%H:%M"
    inside = {"from": f"{noon - minute:{local}}", "to": f"{noon + minute:{local}}"}
    assert event_keys(page(operator, RECENT, **inside)) == ["gateway value"]
    days = {"from": f"{noon:%Y-%m-%d}", "to": f"{noon + timedelta(days=1):%Y-%m-%d}"}
    assert event_keys(page(operator, RECENT, **days)) == ["gateway value"]
    assert event_keys(page(operator, RECENT, to=f"{noon - minute:{local}}")) == []
    assert event_keys(page(operator, RECENT, on=f"{noon:%Y-%m-%d}")) == ["gateway value"]
    assert event_keys(page(operator, RECENT, on=f"{noon + timedelta(days=1):%Y-%m-%d}")) == []
    # PostgreSQL does not know this offset.
    offset = get_fixed_timezone(timedelta(hours=23, minutes=59))
    for day, count in ((-1, 2), (1, 0)):
        since = timezone.now().astimezone(offset) + timedelta(days=day)
        assert len(event_keys(page(operator, RECENT, **{"from": since.isoformat()}))) == count


def test_filter_that_is_not_valid_is_named_kept_and_selects_nothing(operator: Client) -> None:
    for name, text, problem in (
        ("from", "yesterday", "Enter a valid date/time."),
        ("to", "9999-12-31T23:59:59-12:00", "Enter a valid date/time."),
        ("from", "0001-01-01T00:00:00+23:59", "Enter a valid date/time."),
        ("on", "Tuesday", "Enter a valid date."),
        ("on", "9999-12-31", "Ensure this value is less than or equal to"),
        ("kind", "nothing", "Select a valid choice."),
        ("transaction", "x", "Enter a whole number."),
        ("transaction", "9" * 30, "Ensure this value is less than or equal to"),
    ):
        html = page(operator, RECENT, **{name: text})
        assert problem in content_of(html), (name, text)
        assert event_keys(html) == []
        assert f'value="{text}"' in html or name == "kind"
        assert page(operator, RECENT, format="csv", **{name: text}).count("\n") == 1


def test_parameter_that_is_no_filter_is_an_error_and_selects_nothing(operator: Client) -> None:
    html = page(operator, RECENT, actr="ana")
    assert "There is no filter “actr”." in content_of(html)
    assert event_keys(html) == []


def test_search_finds_usernames_and_no_other_names() -> None:
    zoe = User.objects.create(username="zoe", first_name="Chloe", email="zoe@corp.example")
    with acting_as(zoe):
        changes.flags.enable(KEY)
    client = staff("view_featureflag")
    for text in ("Chloe", "corp.example"):
        assert event_keys(page(client, RECENT, actor=text)) == []
    assert event_keys(page(client, RECENT, actor="zoe")) == [KEY]
    html = page(client, RECENT, actor="Chloe", transaction="7")
    assert "No change matches the filters. Remove all filters" in content_of(html)
    # The form keeps its filters, also the hidden one.
    assert {"transaction": "7", "actor": "Chloe"}.items() <= Screen(html).fields().items()


def test_pages_and_csv_have_each_change_once_with_the_same_queries(operator: Client) -> None:
    few = count_queries(operator, RECENT)
    for percent in range(1, 61):
        changes.flags.set_rollout(KEY, percent)
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{number}") for number in range(60))
    assert count_queries(operator, RECENT) <= few
    first = page(operator, RECENT, key=KEY)
    second = page(operator, f"{RECENT}{Screen(first).link('Older')}")
    assert (len(event_keys(first)), len(event_keys(second))) == (50, 11)
    assert "rollout 10 → 11 %" in content_of(first)
    assert "rollout 9 → 10 %" in content_of(second)
    assert ">Older<" not in second
    assert [row["key"] for row in rows_of_csv(operator, key=KEY)] == [KEY] * 61
    assert operator.get(RECENT, {"before": "9" * 5000}).status_code == 404


RELATED = 'a[href*="transaction="]'


def test_page_asks_the_catalog_once_what_the_role_may_read(operator: Client) -> None:
    statements = statements_of(lambda: page(operator, RECENT))
    assert sum("has_table_privilege" in statement for statement in statements) == 1


def test_csv_is_sent_while_the_history_is_read(operator: Client) -> None:
    def read_first_byte() -> None:
        response: Any = operator.get(RECENT, {"format": "csv"})
        assert response.streaming
        next(iter(response))

    few = len(statements_of(read_first_byte))
    for number in range(450):
        FeatureFlag.objects.update(description=str(number))
    assert len(statements_of(read_first_byte)) == few
    assert len(page(operator, RECENT, format="csv").splitlines()) > 450


def test_csv_has_no_formulas(operator: Client) -> None:
    with acting_as("=cmd()", reason="@sum"):
        changes.flags.enable(KEY)
    row = rows_of_csv(operator)[0]
    assert (row["actor"], row["reason"]) == ("'=cmd()", "'@sum")


def rows_of_csv(client: Client, **filters: str) -> list[dict[str, str]]:
    response = client.get(RECENT, {"format": "csv", **filters})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(StringIO(text)))


def test_plan_is_among_the_changes(operator: Client) -> None:
    with acting_as("ana"):
        plans.create(KEY, ["10:1h", "50:1h"], guards=())
    row = f"{KEY} rollout plan"
    assert row in event_keys(page(operator, RECENT))
    assert {*event_keys(page(operator, RECENT, kind="plan"))} == {row}
    assert event_keys(page(operator, RECENT, kind="plan", actor="bob")) == []
    yesterday = f"{timezone.localtime() - timedelta(days=1):%Y-%m-%d}"
    assert event_keys(page(operator, RECENT, kind="plan", to=yesterday)) == []
    assert {*event_keys(page(operator, RECENT, **{"kind": "plan", "from": yesterday}))} == {row}
    for text, is_found in (("CHECKOUT", True), ("ana", True), ("bob", False)):
        assert (row in event_keys(page(operator, RECENT, q=text))) is is_found
    with override_settings(LANGUAGE_CODE="de"):
        text = content_of(page(operator, RECENT, kind="plan"))
    assert "angelegt: „created with the steps 10 % for 1 h, 50 % for 1 h“" in text


def test_act_of_a_plan_and_the_change_that_it_wrote_are_one_line(
    operator: Client, shop: Shop
) -> None:
    drive_recently()
    shop.flag("search_v2")
    plans.start("search_v2", ["10:1h", "50:1h"], guards=())
    plans.rollback("search_v2")
    acts = [
        "rollout plan: rolled back, rollout 10 → 0 %",
        "rollout plan: started, rollout 0 → 10 %",
    ]
    created = "rollout plan created with the steps 10 % for 1 h, 50 % for 1 h"
    for parameters, expected in (
        ({}, [*acts, created]),
        ({"kind": "flag", "key": "search_v2"}, acts),
    ):
        lines = events_of(page(operator, RECENT, **parameters))[: len(expected)]
        assert all(
            line.startswith(f"search_v2 {text}") for line, text in zip(lines, expected, strict=True)
        )
    assert event_keys(page(operator, RECENT, kind="plan")) == ["search_v2 rollout plan"] * 3


@pytest.mark.parametrize(
    ("actor", "shown"),
    [
        ("rollout plan", "automatically"),
        ("a deleted user", "by a deleted user"),
        ("", "no name given"),
        ("deploy", "by deploy"),
        ("admin", "by admin"),
        ("command (root@web-1)", "in the terminal (root@web-1)"),
    ],
)
def test_event_of_a_plan_says_who_made_it(operator: Client, actor: str, shown: str) -> None:
    plans.create(KEY, ["10:1h", "50:1h"], guards=())
    PlanEvent.objects.update(actor=actor)
    [line] = events_of(page(operator, RECENT, kind="plan"))
    assert f" {shown} · " in line


def test_events_of_deleted_plans_and_experiments_stay_among_the_changes(
    operator: Client, shop: Shop
) -> None:
    drive_recently()
    shop.flag("search_v2")
    plans.start("search_v2", ["10:1h", "50:1h"], guards=())
    plans.pause("search_v2")
    shop.experiment("banner")
    experiments.stop("banner")
    with acting_as("ana"):
        plans.delete("search_v2")
        experiments.delete("banner")
    plan_texts = [
        "rollout plan, no longer exists deleted; it was paused at 10 %",
        "rollout plan, no longer exists paused",
        "rollout plan: started, rollout 0 → 10 %",
        "rollout plan, no longer exists created with the steps 10 % for 1 h, 50 % for 1 h",
    ]
    experiment_texts = [
        "experiment, no longer exists deleted; it was stopped",
        "experiment, no longer exists stopped",
        "experiment, no longer exists started",
        "experiment, no longer exists created",
    ]
    for key, expected in (("search_v2", plan_texts), ("banner", experiment_texts)):
        html = page(operator, RECENT, key=key)
        lines = events_of(html)[: len(expected)]
        for line, text in zip(lines, expected, strict=True):
            assert line.startswith(f"{key} {text}")
        assert "ana" in lines[0]
        assert "(deleted " not in html
    [newest] = event_keys(page(operator, RECENT, kind="experiment", actor="ana"))
    assert newest == "banner experiment, no longer exists"


class VisibleExperiments(ExperimentAdmin):
    """A team does not see an experiment of others."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and (obj is None or obj.key != "banner")


class ListedExperiments(ExperimentAdmin):
    """The same, by the query set."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        return super().get_queryset(request).exclude(key="banner")


@pytest.mark.parametrize("admin_class", [VisibleExperiments, ListedExperiments])
def test_deletion_of_an_experiment_shows_nothing_to_who_could_not_see_it(
    admin_class: type[ExperimentAdmin],
    operator: Client,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registered, Experiment, admin_class(Experiment, admin.site))
    shop.experiment("banner")
    experiments.stop("banner")
    assert event_keys(page(operator, RECENT, kind="experiment")) == []
    experiments.delete("banner")
    assert event_keys(page(operator, RECENT, kind="experiment")) == []


def test_events_of_plans_before_the_oldest_change_are_on_the_last_page(operator: Client) -> None:
    plan = plans.create(KEY, ["10:1h", "50:1h"], guards=())
    at = timezone.now() - timedelta(days=1)
    PlanEvent.objects.create(plan=plan, kind=PlanEvent.Kind.HELD, message="early", at=at)
    for percent in range(60):
        changes.flags.update(KEY, {"description": str(percent)})
    first = page(operator, RECENT)
    assert "early" not in first
    assert "early" in page(operator, f"{RECENT}{Screen(first).link('Older')}")


def test_change_links_to_the_others_of_its_transaction(operator: Client, shop: Shop) -> None:
    assert Screen(page(operator, RECENT)).texts(RELATED) == []
    with transaction.atomic():
        changes.flags.allow(KEY, shop.user("alice"))
        changes.flags.set_rollout(KEY, 100)
        changes.flags.create("summer_banner")
        changes.values.set("gateway", "adyen")
    shown = Screen(page(operator, RECENT))
    assert {*shown.texts(RELATED)} == {"with 2 others"}
    link = dict(shown.links)["with 2 others"]
    assert {*event_keys(page(operator, link))} == {"gateway value", "summer_banner", KEY}
    # Without the permission to view values, the value is only counted.
    client = shop.client("olga", "change_featureflag")
    assert {*Screen(page(client, RECENT)).texts(RELATED)} == {"with 2 others"}
    assert "gateway value" not in event_keys(page(client, link))


def test_page_reads_and_asks_as_much_for_many_large_transactions(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    may_change = FeatureFlagAdmin.has_change_permission

    def count(self: Any, request: Any, obj: Any = None) -> bool:
        asked.append(obj)
        return may_change(self, request, obj)

    def change_all(flag_count: int) -> None:
        first = FeatureFlag.objects.count()
        names = (f"flag_{first + number:03}" for number in range(flag_count))
        FeatureFlag.objects.bulk_create(FeatureFlag(key=name) for name in names)
        for number in range(3):
            FeatureFlag.objects.update(description=str(number))

    def figures() -> tuple[int, int]:
        """The numbers of queries, and of asked permissions."""
        asked.clear()
        with CaptureQueriesContext(connection) as queries:
            page(operator, RECENT)
        return len(queries), len(asked)

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", count)
    change_all(10)
    figures()  # Fills Django's caches.
    few = figures()
    change_all(60)
    assert figures() == few
    monkeypatch.setattr(events, "_MAX_ENTRIES", 20)
    assert "with at least 20 others" in Screen(page(operator, RECENT)).texts(RELATED)


def test_user_sees_only_kinds_with_a_permission(viewer: Client) -> None:
    html = page(viewer, RECENT)
    assert event_keys(html) == [KEY]
    assert 'value="segment"' not in html
    assert "Undo…" not in html
    client = staff("view_user", name="without")
    assert client.get(RECENT).status_code == 403
    assert client.post(RECENT).status_code == 403
    assert RECENT not in page(client, "/admin/")


def test_page_is_linked_and_needs_a_history(operator: Client) -> None:
    assert f'<a href="{RECENT}">Recent changes</a>' in page(operator, FLAGS)
    value = KeyValueStore.objects.get()
    with without_table("flagstaff_change"):
        html = page(operator, RECENT)
        # What Django's own log has.
        assert "change-history" in page(operator, f"{VALUES}{value.pk}/history/")
    assert "There is no history: it needs PostgreSQL and “manage.py migrate”." in unescape(html)
