"""The echo: reports change a row, by which copies of the database know that changes arrive."""

from collections.abc import Iterator

import pytest

from tests.support.fake_workers import Join, join
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


@pytest.fixture(autouse=True)
def no_echo(db: None) -> Iterator[None]:
    rows("DELETE FROM flagstaff_echo")
    yield
    rows("DELETE FROM flagstaff_echo")


def echo() -> list[tuple[int, float | None]]:
    return rows("SELECT number, due_within FROM flagstaff_echo")


def let_pass(seconds: int) -> None:
    rows("UPDATE flagstaff_echo SET at = at - make_interval(secs => %s)", seconds)


def test_reports_change_the_echo_at_most_every_fifteen_seconds(join: Join) -> None:
    worker, other = join("web-1"), join("web-2")
    assert echo() == [(1, 30)]
    let_pass(16)
    worker.report()
    other.report()
    assert echo() == [(2, 30)]


def test_clock_that_was_set_back_does_not_stop_the_echo(join: Join) -> None:
    worker = join()
    let_pass(-3600)
    worker.report()
    assert echo() == [(2, 30)]


def test_worker_that_reports_rarely_leaves_the_echo_to_others_until_it_is_late(join: Join) -> None:
    worker = join()
    let_pass(20)
    worker.report(interval=600)
    assert echo() == [(1, 30)]
    let_pass(20)
    worker.report(interval=600)
    assert echo() == [(2, 600)]
    let_pass(16)
    worker.report()
    assert echo() == [(3, 30)]


def test_end_of_a_worker_announces_the_next_report_of_the_others(join: Join) -> None:
    often, rarely = join("web-1"), join("web-2")
    rarely.report(interval=600)
    often.end()
    assert echo() == [(2, 600)]
    rarely.end()
    assert echo() == [(3, None)]


def test_locked_echo_delays_no_report(join: Join) -> None:
    worker, other = join("web-1"), join("web-2")
    let_pass(16)
    other.query("BEGIN; UPDATE flagstaff_echo SET number = 50")
    worker.report()
    other.query("ROLLBACK")
    assert echo() == [(1, 30)]


def test_report_at_a_subscriber_leaves_the_echo_of_the_publisher(join: Join) -> None:
    worker = join()
    let_pass(16)
    rows(
        "CREATE SUBSCRIPTION shop CONNECTION 'dbname=shop' PUBLICATION shop "
        "WITH (connect = false, slot_name = NONE)"
    )
    try:
        rows(
            "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) "
            "SELECT oid, 'flagstaff_echo'::regclass, 'r' FROM pg_subscription"
        )
        worker.report()
        assert echo() == [(1, 30)]
    finally:
        rows("DROP SUBSCRIPTION shop")
