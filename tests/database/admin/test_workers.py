"""The page of workers in the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import site
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff._engine import direct
from flagstaff.models import ConnectedWorker, FeatureFlag
from tests.support.admin_pages import FLAGS, messages_of, page, staff
from tests.support.fake_workers import Join, join, other_token_table

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join", "other_token_table"]

WORKERS = "/admin/flagstaff/connectedworker/"


def text(html: str) -> str:
    content = html.partition('id="content"')[2].replace("<", " <")
    return " ".join(strip_tags(content).split())


def rows(html: str) -> list[str]:
    """The rows of the table as text."""
    body = html.partition("<tbody>")[2].partition("</tbody>")[0]
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [" ".join(strip_tags(row.replace("<", " <")).split()) for row in found]


@pytest.fixture(autouse=True)
def token() -> None:
    """A change that workers can have applied."""
    FeatureFlag.objects.create(key="new_checkout")


@pytest.fixture
def can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the page wait for workers, although this process evaluates by queries."""
    monkeypatch.setattr(direct, "is_required", lambda: False)


def test_page_without_workers_says_so(admin_client: Client) -> None:
    shown = text(page(admin_client, WORKERS))
    assert "No worker is connected." in shown
    assert "A worker is listed after its first evaluation." in shown


def test_workers_that_are_up_to_date_are_one_sentence(admin_client: Client, join: Join) -> None:
    for number in range(4):
        join("web-1", pid=number).load()
    html = page(admin_client, WORKERS)
    assert ("4 workers are connected and up to date: all have applied the newest change.") in text(
        html
    )
    [first, *_others] = rows(html)
    assert re.match(
        r"web-1 pid \d up to date compared with the database less than 1 s ago live notified of "
        r"each change, and polls as well just now this version",
        first,
    )


def test_worker_that_is_behind_comes_first_with_its_time(admin_client: Client, join: Join) -> None:
    slow, quick = join("web-2", pid=7), join("web-1", pid=8)
    for worker in (slow, quick):
        worker.load()
    FeatureFlag.objects.update(enabled=True)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 seconds'")
    quick.load()
    html = page(admin_client, WORKERS)
    assert "1 of 2 workers is behind: web-2 (pid 7) for 12 s." in text(html)
    assert rows(html)[0].startswith("web-2 pid 7 behind has not applied a change made 12 s ago")
    assert rows(html)[1].startswith("web-1 pid 8 up to date")
    assert "run manage.py flags status on its host, and restart it" in text(html)


def test_worker_of_an_older_version_is_named(admin_client: Client, join: Join) -> None:
    join("web-1", pid=7, rule_format=None).load()
    html = page(admin_client, WORKERS)
    assert (
        "web-1 (pid 7) runs an older version, which cannot read format 1 of rules. "
        "Deploy this version to it."
    ) in text(html)
    assert rows(html)[0].endswith("older version")


def test_worker_that_reloads_has_no_state(admin_client: Client, join: Join) -> None:
    join("web-1", pid=7, mode="R").load()
    html = page(admin_client, WORKERS)
    sentence = "1 worker is connected; it is not known whether it is up to date: web-1 (pid 7)."
    assert sentence in text(html)
    assert "cannot see which table has changed" in rows(html)[0]


def test_sessions_that_are_not_listed_are_counted(
    admin_client: Client, join: Join, other_token_table: int
) -> None:
    join().set_name("flagstaff")
    join("web-2", table=other_token_table)
    shown = text(page(admin_client, WORKERS))
    assert "1 session has no worker name" in shown
    assert "1 worker of another project is not listed" in shown


def test_names_are_escaped(admin_client: Client, join: Join) -> None:
    join().set_name("fs2 <b>what</b>")
    html = page(admin_client, WORKERS)
    assert "<b>what" not in html
    assert "the name of its session is not readable" in html


@pytest.mark.usefixtures("can_wait")
def test_check_lists_the_workers_that_have_not_applied(admin_client: Client, join: Join) -> None:
    join("web-1", pid=7).load()
    [message] = messages_of(admin_client.post(WORKERS, {"_check": ""}, follow=True))
    assert re.match(
        r"Checked at \d\d:\d\d:\d\d \w+ with a test change, which changes no flag\. "
        r"0 of 1 worker has applied it after 2\.\d\d s\. Not applied yet: web-1 \(pid 7\)\.",
        message,
    )


@pytest.mark.usefixtures("can_wait")
def test_user_who_may_view_flags_can_check(join: Join) -> None:
    join("job-1", pid=7, mode="P").load()
    client = staff("view_featureflag")
    assert 'name="_check"' in page(client, WORKERS)
    [message] = messages_of(client.post(WORKERS, {"_check": ""}, follow=True))
    assert "These workers poll, and apply it by" in message


def test_check_without_workers_that_evaluate_from_memory_says_so(admin_client: Client) -> None:
    [message] = messages_of(admin_client.post(WORKERS, {"_check": ""}, follow=True))
    assert message == "There is nothing to check: evaluations query the database."


def test_read_only_page_cannot_check(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert 'name="_check"' not in page(admin_client, WORKERS)
    with CaptureQueriesContext(connection) as queries:
        response = admin_client.post(WORKERS, {"_check": ""}, follow=True)
    assert messages_of(response) == []
    assert not any("flagstaff_barrier" in one["sql"] for one in queries)


@pytest.mark.usefixtures("can_wait")
def test_check_works_with_atomic_requests(
    admin_client: Client, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    join("job-1", pid=7, mode="P").load()
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    [message] = messages_of(admin_client.post(WORKERS, {"_check": ""}, follow=True))
    assert message.startswith("Checked at ")


def test_no_setting_at_import_puts_the_page_into_a_transaction(settings: Any) -> None:
    settings.FLAGSTAFF = {"DATABASE": "nowhere"}
    [url] = site.get_model_admin(ConnectedWorker).get_urls()
    view: Any = url.callback
    assert view._non_atomic_requests == {"default"}


def test_user_without_the_permission_sees_no_page() -> None:
    client = staff("view_keyvaluestore")
    assert client.get(WORKERS).status_code == 403
    assert client.post(WORKERS, {"_check": ""}).status_code == 403


def test_check_needs_the_token_of_the_session(admin_client: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = admin_client.cookies
    assert client.post(WORKERS, {"_check": ""}).status_code == 403


def test_page_on_other_databases_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    expected = "Workers can be listed only on PostgreSQL. Here, every evaluation queries"
    assert expected in text(page(admin_client, WORKERS))


def test_page_without_the_tables_says_so(admin_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_token RENAME TO flagstaff_hidden")
        try:
            assert "The workers cannot be listed." in text(page(admin_client, WORKERS))
        finally:
            cursor.execute("ALTER TABLE flagstaff_hidden RENAME TO flagstaff_token")


def test_page_works_with_naive_times(admin_client: Client, join: Join, settings: Any) -> None:
    settings.USE_TZ = False
    join("web-1", pid=7).load()
    assert "just now" in rows(page(admin_client, WORKERS))[0]


def test_index_and_list_of_flags_link_to_the_page(admin_client: Client) -> None:
    for url in ("/admin/", FLAGS):
        html = page(admin_client, url)
        assert f'href="{WORKERS}"' in html
        assert "Workers" in html


def test_page_makes_the_same_queries_for_many_workers(admin_client: Client, join: Join) -> None:
    join("web-1", pid=0)
    page(admin_client, WORKERS)  # Fills Django's caches.
    with CaptureQueriesContext(connection) as few:
        page(admin_client, WORKERS)
    for number in range(1, 40):
        join("web-1", pid=number)
    with CaptureQueriesContext(connection) as many:
        html = page(admin_client, WORKERS)
    assert len(many) == len(few)
    assert len(rows(html)) == 40
    assert "and 35 more" in text(html)
