"""The page of workers in the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff._engine import direct
from flagstaff.admin.pages import workers
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, count_queries, messages_of, page, rows_of, staff
from tests.support.fake_workers import Join, join, let_pass
from tests.support.plan_pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]

WORKERS = f"{FLAGS}workers/"


def text(html: str) -> str:
    return text_of(html.partition('id="content"')[2].replace("<", " <"))


@pytest.fixture(autouse=True)
def token() -> None:
    """A change that workers can have applied."""
    FeatureFlag.objects.create(key="new_checkout")


@pytest.fixture
def can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the page wait for workers for a moment, although this process evaluates by queries."""
    monkeypatch.setattr(direct, "is_required", lambda: False)
    monkeypatch.setattr(workers, "_CHECK_TIMEOUT", 0.2)


def test_page_without_workers_says_so_and_has_nothing_to_check(operator: Client) -> None:
    shown = text(page(operator, WORKERS))
    assert "No worker is registered." in shown
    assert "A worker registers after its first evaluation." in shown
    # This process evaluates by queries.
    [message] = messages_of(operator.post(WORKERS, follow=True))
    assert message == "There is nothing to check: evaluations query the database."


@pytest.mark.parametrize("use_tz", [True, False])
def test_workers_that_are_up_to_date_are_one_sentence(
    use_tz: bool, operator: Client, join: Join, settings: Any
) -> None:
    settings.USE_TZ = use_tz
    for number in range(4):
        join("web-1", pid=number).load()
    html = page(operator, WORKERS)
    assert "Registered workers: 4. All are up to date." in text(html)
    shown = [re.sub(r" date .* ago live ", " date live ", row) for row in rows_of(html)]
    row = "up to date live just now this version"
    assert shown == [f"web-1 pid {number} {row}" for number in range(4)]
    assert "live: notified of each change, and polls as well" in text(html)


def test_worker_that_is_behind_comes_first_with_its_time(operator: Client, join: Join) -> None:
    slow, quick = join("web-2", pid=7), join("web-1", pid=8)
    for worker in (slow, quick):
        worker.load()
    FeatureFlag.objects.update(enabled=True)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 minutes'")
    quick.load()
    html = page(operator, WORKERS)
    assert "1 of 2 workers behind: web-2 (pid 7) for 12 min." in text(html)
    assert rows_of(html)[0].startswith("web-2 pid 7 behind for 12 min")
    assert rows_of(html)[1].startswith("web-1 pid 8 up to date")
    assert "run “manage.py flags status” on its host, and restart it" in text(html)


def test_worker_of_an_older_version_or_that_reloads_is_named(operator: Client, join: Join) -> None:
    join("web-1", 7, "reload").load()
    html = page(operator, WORKERS)
    assert "It is not known whether these are up to date: web-1 (pid 7)." in text(html)
    assert "reload: cannot see which table has changed" in text(html)
    join("web-2", pid=8, rule_format=1).load()
    html = page(operator, WORKERS)
    older = "An older version, which cannot read format 2 of rules: web-2 (pid 8)."
    assert f"{older} Deploy this version there." in text(html)
    assert any(row.endswith("older version") for row in rows_of(html))


def test_workers_that_are_lost_or_do_not_report_are_named_and_hosts_escaped(
    operator: Client, join: Join
) -> None:
    join("<b>web</b>", 7).leave()
    let_pass(31)
    join(reports=False)
    html = page(operator, WORKERS)
    assert "Connected workers that do not report: 1." in text(html)
    assert "Lost (killed, or without a connection): &lt;b&gt;web" in html
    assert "<b>web" not in html


@pytest.mark.usefixtures("can_wait")
def test_check_lists_the_workers_that_have_not_applied(operator: Client, join: Join) -> None:
    join("web-1", pid=7).load()
    [message] = messages_of(operator.post(WORKERS, follow=True))
    assert re.match(
        r"Checked at .+, \d\d:\d\d:\d\d \w+ with a test change, which changes no flag\. "
        r"Applied by 0 of 1 workers within 0\.\d+ s\. Not applied yet: web-1 \(pid 7\)\.",
        message,
    )


@pytest.mark.usefixtures("can_wait")
@pytest.mark.parametrize("permission", ["toggle", "change"])
def test_user_who_may_toggle_flags_can_check_with_atomic_requests(
    permission: str, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = staff(f"{permission}_featureflag")
    join("job-1", 7, "poll").load()
    assert ">Check now</button>" in page(client, WORKERS)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    [message] = messages_of(client.post(WORKERS, follow=True))
    assert message.startswith("Checked at ")
    assert "Not applied yet: job-1 (pid 7)." in message


@pytest.mark.usefixtures("can_wait")
@pytest.mark.parametrize("is_read_only", [False, True])
def test_check_by_a_viewer_or_with_read_only_is_refused(
    is_read_only: bool, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue("operator" if is_read_only else "viewer")
    if is_read_only:
        request.getfixturevalue("read_only")
    assert ">Check now</button>" not in page(client, WORKERS)
    with CaptureQueriesContext(connection) as queries:
        assert client.post(WORKERS).status_code == 403
    assert not any("flagstaff_barrier" in one["sql"] for one in queries)


def test_check_needs_the_token_of_the_session(operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(WORKERS).status_code == 403


def test_page_makes_the_same_queries_for_many_workers(operator: Client, join: Join) -> None:
    join("web-1", pid=0)
    few = count_queries(operator, WORKERS)
    for number in range(1, 40):
        join("web-1", pid=number)
    assert count_queries(operator, WORKERS) == few
