"""The function that writes the register of workers, and what a hostile caller can do with it."""

from collections.abc import Iterator

import psycopg
import pytest

from flagstaff._workers.register import read_workers
from tests.support.fake_workers import FakeWorker, Join, join, let_pass
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]

HOUR = 3600


def hosts() -> list[str]:
    return [host for (host,) in rows("SELECT host FROM flagstaff_worker ORDER BY host")]


@pytest.fixture
def stranger() -> Iterator[FakeWorker]:
    """A session of a role that may only call the function."""
    rows("CREATE ROLE stranger LOGIN PASSWORD 'secret'")
    rows("GRANT EXECUTE ON FUNCTION flagstaff_worker_v1 TO stranger")
    session = FakeWorker("evil", user="stranger", password="secret")
    yield session
    session.leave()
    rows("DROP OWNED BY stranger; DROP ROLE stranger")


def test_report_updates_the_own_row_and_the_end_deletes_it(join: Join) -> None:
    first, other = join("web-1"), join("web-2")
    first.report(7, -1, "poll")
    registered = rows("SELECT mode, token, nonce, session FROM flagstaff_worker ORDER BY host")
    assert registered == [("poll", 7, -1, first.session), ("live", 0, 0, other.session)]
    first.end()
    assert hosts() == ["web-2"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flagstaff_worker SET token = 99",
        "DELETE FROM flagstaff_worker",
        "SELECT worker FROM flagstaff_worker",
    ],
)
def test_role_that_may_call_the_function_may_not_touch_the_table(
    statement: str, join: Join, stranger: FakeWorker
) -> None:
    join()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stranger.query(statement)


@pytest.mark.parametrize("mode", ["live", "ended"])
def test_caller_that_knows_the_key_of_a_row_cannot_write_it(
    mode: str, join: Join, stranger: FakeWorker
) -> None:
    worker = join("web-1")
    [[stranger.secret]] = rows("SELECT worker FROM flagstaff_worker")
    stranger.report(99, 99, mode)
    [[host, token]] = rows("SELECT host, token FROM flagstaff_worker WHERE host = 'web-1'")
    assert (host, token) == ("web-1", 0)
    worker.end()


def test_false_row_speaks_only_for_the_session_of_its_caller(
    join: Join, stranger: FakeWorker
) -> None:
    worker, _silent = join("web-1"), join("web-2", reports=False)
    for is_pooled in (False, True):
        stranger.is_pooled = is_pooled
        stranger.report(1, 1)
        register = read_workers()
        assert {worker.host for worker in register.expected} == {"evil", "web-1"}
        # The worker without a row has another role and another session.
        assert register.unreported >= 1
    stranger.report(mode="ended")
    worker.report(1, 1)
    assert read_workers().unreported >= 1


def test_workers_that_are_equally_behind_are_in_the_order_of_their_hosts(join: Join) -> None:
    names = [f"web-{number}" for number in range(1, 5)]
    for name in names:
        join(name)
    rows("SELECT flagstaff_barrier_v1()")
    rows("UPDATE flagstaff_token SET at = at - interval '1 minute'")
    register = read_workers()
    assert [worker.host for worker in register.behind] == names


def test_sizes_of_a_row_are_bounded(stranger: FakeWorker) -> None:
    stranger.host, stranger.secret = "h" * 10_000, "s" * 10_000
    stranger.report(interval=1e12)
    [[host, worker, hours]] = rows(
        "SELECT length(host), length(worker), extract(hour FROM expected_by - seen_at)::int"
        " + 24 * extract(day FROM expected_by - seen_at)::int FROM flagstaff_worker"
    )
    assert (host, worker, hours) == (255, 64, 24)
    with pytest.raises(psycopg.errors.CheckViolation):
        stranger.report(mode="x" * 10_000)


def test_table_has_a_limit(stranger: FakeWorker) -> None:
    rows(
        "INSERT INTO flagstaff_worker SELECT n, 'many', 1, 2, 'live', 0, 0, 10, NULL, now(), now(),"
        " now() FROM generate_series(1, 20000) AS n"
    )
    stranger.secret, stranger.is_pooled = "secret 4", True
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="takes no more"):
        stranger.report()
    rows("DELETE FROM flagstaff_worker")


def test_first_report_of_a_worker_deletes_those_that_were_lost_for_an_hour(join: Join) -> None:
    for host, seconds in ("web-1", HOUR + 31 - 20), ("web-2", 20 + 60):
        join(host).leave()
        let_pass(seconds)
    worker = join("web-3")
    assert hosts() == ["web-2", "web-3"]
    # Only the first one: a report is cheap.
    let_pass(2 * HOUR)
    worker.report()
    assert hosts() == ["web-2", "web-3"]


def test_process_id_of_a_backend_that_is_used_again_is_that_of_the_new_worker(join: Join) -> None:
    killed, worker = join("web-1"), join("web-2", reports=False)
    rows("UPDATE flagstaff_worker SET session = %s", worker.session)
    worker.report()
    # The former one may be about to connect again, so it stays expected.
    owners = rows("SELECT host, session FROM flagstaff_worker ORDER BY host")
    assert owners == [("web-1", 0), ("web-2", worker.session)]
    killed.leave()


def test_commit_of_a_report_does_not_wait_for_the_disk(join: Join) -> None:
    worker = join()
    worker.query("SET synchronous_commit = on")
    worker.query("BEGIN")
    worker.report(1, 1)
    assert worker.query("SHOW synchronous_commit") == [("off",)]
    worker.query("COMMIT")
    assert worker.query("SHOW synchronous_commit") == [("on",)]


def test_report_gives_up_after_a_tenth_of_a_second_behind_a_lock(join: Join) -> None:
    worker, admin = join(), join(reports=False, application_name="psql")
    admin.query("BEGIN")
    admin.query("LOCK TABLE flagstaff_worker")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        worker.report()
    admin.query("ROLLBACK")
