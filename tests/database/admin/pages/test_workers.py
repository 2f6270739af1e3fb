"""The page of workers in the admin."""

import re
from typing import Any

import pytest
from django.test import Client

from flagstaff._core import RULE_FORMAT
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, content_of, count_queries, page, rows_of
from tests.support.fake_workers import Join, join, let_pass
from tests.support.screen import Screen

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]

WORKERS = f"{FLAGS}workers/"


@pytest.fixture(autouse=True)
def token() -> None:
    """A change that workers can have applied."""
    FeatureFlag.objects.create(key="new_checkout")


def test_page_without_workers_says_so(operator: Client) -> None:
    shown = content_of(page(operator, WORKERS))
    assert "No worker is registered." in shown
    assert "A worker registers after its first evaluation." in shown


@pytest.mark.parametrize("region", [None, "eu"])
def test_page_says_how_often_workers_of_a_replica_report_if_there_are_any(
    region: str | None, operator: Client, join: Join
) -> None:
    worker = join()
    worker.region = region
    worker.load()
    text = "Workers that read a replica of the database report about every two minutes"
    assert (text in content_of(page(operator, WORKERS))) is (region is not None)


@pytest.mark.parametrize("use_tz", [True, False])
def test_workers_that_are_up_to_date_are_one_sentence(
    use_tz: bool, operator: Client, join: Join, settings: Any
) -> None:
    settings.USE_TZ = use_tz
    for number in range(4):
        join("web-1", pid=number).load()
    html = page(operator, WORKERS)
    assert "Registered workers: 4. All are up to date." in content_of(html)
    shown = [re.sub(r" date .* ago live ", " date live ", row) for row in rows_of(html)]
    row = "up to date live just now"
    assert shown == [f"web-1 pid {number} {row}" for number in range(4)]
    assert "live: notified of each change, and polls as well" in content_of(html)


def test_time_beside_a_worker_is_that_of_its_first_report(operator: Client, join: Join) -> None:
    # Its process may be much older: it reports after its first evaluation.
    join("web-1", pid=7).load()
    titles = Screen(page(operator, WORKERS)).texts(".flagstaff-table thead th")
    assert titles == ["Worker", "State", "Last report", "Mode", "First report"]


def test_worker_that_is_behind_comes_first_with_its_time(operator: Client, join: Join) -> None:
    slow, quick = join("web-2", pid=7), join("web-1", pid=8)
    for worker in (slow, quick):
        worker.load()
    FeatureFlag.objects.update(enabled=True)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 minutes'")
    quick.load()
    html = page(operator, WORKERS)
    assert "1 of 2 workers behind: web-2 (pid 7) for 12 min." in content_of(html)
    assert rows_of(html)[0].startswith("web-2 pid 7 behind for 12 min")
    assert rows_of(html)[1].startswith("web-1 pid 8 up to date")
    assert "run “manage.py flags status” on its host, and restart it" in content_of(html)


def test_worker_of_an_older_version_or_that_reloads_is_named(operator: Client, join: Join) -> None:
    join("web-1", 7, "reload").load()
    html = page(operator, WORKERS)
    assert "It is not known whether these are up to date: web-1 (pid 7)." in content_of(html)
    assert "reload: cannot see which table has changed" in content_of(html)
    join("web-2", pid=8, rule_format=1).load()
    html = page(operator, WORKERS)
    older = f"An older version, which cannot read format {RULE_FORMAT} of rules: web-2 (pid 8)."
    assert f"{older} Deploy this version there." in content_of(html)


def test_workers_that_are_lost_or_do_not_report_are_named_and_hosts_escaped(
    operator: Client, join: Join
) -> None:
    join("<b>web</b>", 7).leave()
    let_pass(31)
    join(reports=False)
    html = page(operator, WORKERS)
    assert "Connected workers that do not report: 1." in content_of(html)
    assert "Lost (killed, or without a connection): &lt;b&gt;web" in html
    assert "<b>web" not in html


def test_page_makes_the_same_queries_for_many_workers(operator: Client, join: Join) -> None:
    join("web-1", pid=0)
    few = count_queries(operator, WORKERS)
    for number in range(1, 40):
        join("web-1", pid=number)
    assert count_queries(operator, WORKERS) == few
