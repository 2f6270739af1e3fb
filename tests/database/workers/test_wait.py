"""`wait_for_workers`: which workers have applied a change, and no false claims."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection, transaction

from flagstaff import wait_for_workers
from flagstaff._engine import direct, usage
from flagstaff._tables.names import fill, sql
from flagstaff._workers import tracker, wait
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.conftest import ROOT
from tests.support.fake_workers import NEWEST, FakeWorker, Join, join, other_token_table
from tests.support.pages import code_of
from tests.support.reports import register_worker
from tests.support.sql import rows
from tools.limits import seconds
from tools.token_triggers import always

__all__ = ["join", "other_token_table"]

pytestmark = pytest.mark.django_db(transaction=True)

SetSteps = Callable[..., None]


@contextmanager
def token_trigger(statement: str) -> Iterator[None]:
    """Changes triggers of the values, and installs them again."""
    rows(f"ALTER TABLE flagstaff_keyvaluestore {statement}")
    try:
        yield
    finally:
        rows("ALTER TABLE flagstaff_keyvaluestore ENABLE TRIGGER ALL")
        rows(always("flagstaff_keyvaluestore"))


def create_token() -> tuple[int, str]:
    """Creates a token that is newer than all others."""
    rows("SELECT flagstaff_barrier_v1()")
    [(id_, nonce)] = rows(NEWEST)
    return id_, nonce


def counts(found: wait.Propagation) -> tuple[int, int, int, int]:
    """The numbers of applied, pending, disconnected and missing workers."""
    return found.applied, len(found.pending), len(found.disconnected), found.missing


def result_of_wait(*timeout: float, **options: int) -> tuple[bool, tuple[int, int, int, int]]:
    """Whether the next wait is complete, and its numbers."""
    found = wait_for_workers(*timeout, **options)
    return found.complete, counts(found)


# Which workers have applied it.


Steps = Callable[[FakeWorker, FakeWorker], "tuple[Callable[[], object], ...]"]

# The identities of two workers, what happens during the wait, and `counts`.
WAITS: dict[str, tuple[str, Steps, tuple[int, int, int, int]]] = {
    "both load": ("12", lambda one, other: (one.load, other.load), (2, 0, 0, 0)),
    "none loads": ("12", lambda one, other: (), (0, 2, 0, 0)),
    "one disconnects": ("12", lambda one, other: (one.load, other.leave), (1, 0, 1, 0)),
    "one disconnects after it has loaded": (
        "12",
        lambda one, other: (one.load, one.leave, other.load),
        (2, 0, 0, 0),
    ),
    # Two containers, or a dead connection that the server has not noticed.
    "one of two with one identity loads": ("11", lambda one, other: (one.load,), (1, 1, 0, 0)),
    "both with one identity load": ("11", lambda one, other: (one.load, other.load), (2, 0, 0, 0)),
    "one of two with one identity disconnects": (
        "11",
        lambda one, other: (one.load, other.leave),
        (1, 0, 1, 0),
    ),
    "one ends normally": ("12", lambda one, other: (one.load, lambda: end(other)), (1, 0, 0, 0)),
}


@pytest.mark.parametrize(("identities", "steps", "expected"), WAITS.values(), ids=WAITS)
def test_wait_is_complete_if_all_workers_have_loaded_or_ended(
    identities: str, steps: Steps, expected: tuple[int, ...], join: Join, set_steps: SetSteps
) -> None:
    one, other = (join(f"web-{identity}", 9) for identity in identities)
    for worker in (one, other):
        worker.show(*create_token())
    set_steps(*steps(one, other))
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (expected[1:] == (0, 0, 0), expected)
    assert found.seconds < seconds(0.1) if found.complete else found.seconds == pytest.approx(5)
    assert (found.applied_after is None) is (found.applied == 0)
    lacking = [*found.pending, *found.disconnected]
    assert {str(worker) for worker in lacking} <= {f"web-{i} (pid 9)" for i in identities}


def test_token_created_before_the_barrier_does_not_count_after_a_late_commit(
    join: Join, set_steps: SetSteps
) -> None:
    # The change commits after a transaction that created its token later: the worker shows a token
    # newer than that of the change, and has not loaded the change.
    worker, other = join("web-1"), join("writer")
    other.set_name("psql")
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false")
    newer = create_token()
    worker.show(*newer)
    other.query("COMMIT")
    assert wait_for_workers().applied == 0
    set_steps(worker.load)
    assert wait_for_workers().complete is True


def show_deleted_token(worker: FakeWorker) -> None:
    worker.show(*create_token())
    rows("DELETE FROM flagstaff_token WHERE id = %s", worker.token[0])


CLAIMS: dict[str, Callable[[FakeWorker, int, str], object]] = {
    "S": lambda worker, token, nonce: worker.show(mode="S"),
    "no row": lambda worker, token, nonce: show_deleted_token(worker),
    "other nonce": lambda worker, token, nonce: worker.show(token, f"{int(nonce, 16) ^ 1:08x}"),
    "token 0": lambda worker, token, nonce: worker.show(0, "00000000"),
    "far ahead": lambda worker, token, nonce: worker.show(2**63 - 1, nonce),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_worker_with_an_invalid_token_is_pending(
    claim: Callable[[FakeWorker, int, str], object], join: Join, set_steps: SetSteps
) -> None:
    worker = join()

    def load_and_claim() -> None:
        worker.load()
        claim(worker, *worker.token)

    set_steps(load_and_claim)
    assert result_of_wait() == (False, (0, 1, 0, 0))


@pytest.mark.parametrize(
    "name",
    [
        "fs1 ",
        "fs2 garbage",
        "fs2 1 9 zzzzzzzz L 1 web",
        "fs2 1 99999999999999999999 00000000 L 1 web",
        "fs9 of a newer version",
    ],
)
def test_worker_with_an_unreadable_name_is_pending(name: str, join: Join) -> None:
    worker = join()
    worker.set_name(name)
    found = wait_for_workers(0)
    assert counts(found) == (0, 1, 0, 0)
    assert str(found.pending[0]) == f"{name!r} (session {worker.session})"


def test_session_of_another_client_or_database_is_not_a_worker(join: Join) -> None:
    join(database="postgres")
    for name in ("", "fs2", "fs10 1 00000000 L 1 web", "flagstaff 17", "psql"):
        join().set_name(name)
    assert counts(wait_for_workers(0)) == (0, 0, 0, 0)
    assert wait_for_workers(0).connected == 0


def test_worker_of_another_project_is_left_out(
    join: Join, set_steps: SetSteps, other_token_table: int
) -> None:
    join("web-2", table=other_token_table)
    assert (wait_for_workers(0).complete, wait_for_workers(0).connected) == (False, 0)
    set_steps(join("web-1").load)
    assert result_of_wait() == (True, (1, 0, 0, 0))


@pytest.mark.parametrize("table", [0, 1, 4294967295])
def test_worker_of_a_token_table_that_does_not_exist_is_pending(table: int, join: Join) -> None:
    # The worker has no token table yet, or the one that it had was replaced.
    join(table=table)
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0)


def test_worker_of_the_older_format_has_to_apply_it(join: Join, set_steps: SetSteps) -> None:
    worker = join()
    worker.set_name("fs1 0 00000000 L 1 web-1")
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0)

    def load() -> None:
        token, nonce = worker.query(NEWEST)[0]
        worker.set_name(f"fs1 {token} {nonce} L 1 web-1")

    set_steps(load)
    assert counts(wait_for_workers()) == (1, 0, 0, 0)


# Identities.


@pytest.mark.parametrize("loads", [False, True])
def test_worker_that_reconnects_has_to_load_again(
    loads: bool, join: Join, set_steps: SetSteps
) -> None:
    worker = join("web-1", 5)

    def reconnect() -> None:
        again = join("web-1", 5, "S")
        again.show(*worker.token, mode="L" if loads else "S")
        if loads:
            again.load()

    set_steps(worker.leave, lambda: None, reconnect)
    assert result_of_wait() == (loads, (1, 0, 0, 0) if loads else (0, 1, 0, 0))


def test_one_reconnect_does_not_replace_two_workers_with_one_identity(
    join: Join, set_steps: SetSteps
) -> None:
    one, other = join("web", 1), join("web", 1)
    set_steps(one.load, one.leave, other.leave, lambda: join("web", 1).load())
    found = wait_for_workers()
    # One of the two is back; it is unknown whether it is the one that had not applied it.
    assert (found.complete, counts(found)) == (False, (1, 0, 1, 0))


def test_worker_of_an_earlier_wait_that_disconnected_is_listed(
    join: Join, set_steps: SetSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, other.load)
    assert wait_for_workers().complete is True
    other.leave()
    set_steps(one.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (1, 0, 1, 0))
    assert found.seconds < seconds(0.1)
    monkeypatch.setattr(tracker, "_MEMORY", 0.0)
    set_steps(one.load)
    assert wait_for_workers().complete is True


# Workers that ended normally report it with their last counts.


def end(worker: FakeWorker, host: str = "", *, seconds_ago: float = 0) -> None:
    """Reports the end of a worker, as its last flush does, and closes its session."""
    host = host or worker.host
    register_worker(host=host, pid=worker.pid, seconds_ago=seconds_ago, stopped=True)
    worker.leave()


def seen_before(*workers: FakeWorker, set_steps: SetSteps) -> None:
    """Lets the workers apply a change, and this process see it."""
    set_steps(*(worker.load for worker in workers))
    assert wait_for_workers().complete is True


@pytest.mark.parametrize(
    ("host", "shown"),
    [("web-2", "web-2"), ("shop:1", "shop_1"), ("shop-frontend-x7k2p", "~ntend-x7k2p")],
)
def test_worker_of_an_earlier_wait_that_ended_is_not_listed(
    host: str, shown: str, join: Join, set_steps: SetSteps
) -> None:
    one, other = join("web-1"), join(shown, 9)
    seen_before(one, other, set_steps=set_steps)
    end(other, host)
    set_steps(one.load)
    assert result_of_wait() == (True, (1, 0, 0, 0))


def test_report_of_another_or_an_earlier_process_does_not_count(
    join: Join, set_steps: SetSteps
) -> None:
    one, other, early, third = join("web-1"), join("web-2", 1), join("web-2", 2), join("web-2", 3)
    seen_before(one, other, early, third, set_steps=set_steps)
    end(third)
    end(early, seconds_ago=60)
    other.leave()
    set_steps(one.load)
    found = wait_for_workers()
    assert {str(worker) for worker in found.disconnected} == {"web-2 (pid 1)", "web-2 (pid 2)"}


def test_one_report_does_not_replace_two_workers_with_one_identity(
    join: Join, set_steps: SetSteps
) -> None:
    one, other, third = join("web-1"), join("web", 1), join("web", 1)
    seen_before(one, other, third, set_steps=set_steps)
    end(third)
    other.leave()
    set_steps(one.load)
    assert counts(wait_for_workers()) == (1, 0, 1, 0)


def test_ended_worker_is_missing_if_its_number_is_expected(join: Join, set_steps: SetSteps) -> None:
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, lambda: end(other))
    assert result_of_wait(0.5, expect=2) == (False, (1, 0, 0, 1))


def test_ended_worker_is_listed_if_the_counts_cannot_be_read(
    join: Join, set_steps: SetSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "why_unavailable", lambda *_: "row level security")
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, lambda: end(other))
    assert counts(wait_for_workers()) == (1, 0, 1, 0)


# Polling, expected and hidden workers.


@pytest.mark.parametrize(("mode", "bound"), [("P", 5.5 + 17), ("R", 60 + 5.5 + 17)])
def test_wait_shorter_than_the_poll_interval_gives_a_deadline(
    mode: str, bound: float, join: Join, set_steps: SetSteps
) -> None:
    worker = join("web-1", mode=mode)
    set_steps(worker.load)
    started = datetime.now(timezone.utc)
    found = wait_for_workers()
    assert (found.complete, found.applied, len(found.polling)) == (False, 0, 1)
    assert found.polling_deadline is not None
    assert (
        timedelta(0)
        <= found.polling_deadline - started - timedelta(seconds=bound)
        < timedelta(seconds=1)
    )


DUE = 5.5 + 17


def test_long_wait_goes_on_until_the_deadline_of_hidden_workers(join: Join) -> None:
    join().set_name("flagstaff")
    found = wait_for_workers(DUE - 1)
    assert (found.polled, found.seconds < DUE) == (False, True)
    found = wait_for_workers(DUE + 1)
    assert (found.polled, found.complete, found.only_polling) == (True, False, True)
    assert DUE <= found.seconds < DUE + 1


@pytest.mark.parametrize("timeout", [6, DUE + 1])
def test_wait_longer_than_the_poll_interval_ends_when_all_workers_have_polled(
    timeout: float, join: Join, set_steps: SetSteps
) -> None:
    one, other = join("job-1", mode="P"), join("job-2", mode="P")
    set_steps(one.load, other.load)
    found = wait_for_workers(timeout)
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))
    assert found.seconds < 1


def test_worker_that_has_not_polled_by_its_deadline_is_pending(join: Join) -> None:
    join("job-1", mode="P")
    found = wait_for_workers(DUE + 1)
    assert (found.polled, counts(found), found.polling) == (False, (0, 1, 0, 0), ())
    assert DUE <= found.seconds < DUE + 2


@pytest.mark.parametrize("leaves", [True, False], ids=["disconnected", "pending"])
def test_wait_is_not_polled_if_a_worker_was_lost_or_is_late(
    leaves: bool, join: Join, set_steps: SetSteps
) -> None:
    polling = join("job-1", mode="P")
    if not leaves:
        join("web-1")
    set_steps(polling.leave if leaves else polling.load)
    found = wait_for_workers(DUE + 1)
    assert (found.polled, found.only_polling) == (False, False)
    assert counts(found) == ((0, 0, 1, 0) if leaves else (1, 1, 0, 0))


def test_hidden_worker_reloads_if_a_token_trigger_is_disabled(
    join: Join, set_steps: SetSteps
) -> None:
    join().set_name("flagstaff")
    with token_trigger("DISABLE TRIGGER ALL"):
        assert wait_for_workers(DUE + 59).polled is False
        assert wait_for_workers(DUE + 61).polled is True


def test_deadlines_are_those_of_the_engine() -> None:
    source = (ROOT / "src" / "postgres" / "deadline.rs").read_text()
    deadlines = dict(re.findall(r"const (\w+): Duration = Duration::from_secs\((\d+)\)", source))
    named = {"STATEMENT": wait._POLL, "LOAD": wait._LOAD}
    assert named == {name: float(deadlines[name]) for name in named}


def test_unnamed_session_may_hide_workers(join: Join, set_steps: SetSteps) -> None:
    worker, pooled = join(), join()
    pooled.set_name("flagstaff")
    set_steps(worker.load)
    found = wait_for_workers()
    assert (found.complete, found.possibly_hidden, counts(found)) == (False, True, (1, 0, 0, 0))
    assert found.seconds < seconds(1.1)


def test_worker_that_has_just_connected_is_expected_to_load(
    join: Join, set_steps: SetSteps
) -> None:
    worker, new = join("web-1"), join("web-2")
    new.set_name("flagstaff")
    set_steps(worker.load, lambda: new.show(mode="S"), lambda: new.show(mode="L"), new.load)
    assert result_of_wait(expect=1) == (True, (2, 0, 0, 0))


@pytest.mark.parametrize(
    "statement", ["DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER flagstaff_token_update_v1"]
)
def test_worker_gets_a_deadline_if_a_token_trigger_is_disabled(
    statement: str, join: Join, set_steps: SetSteps
) -> None:
    # The worker gets the barrier. The change wrote no token, so it does not load the table.
    with token_trigger(statement):
        set_steps(join().load)
        found = wait_for_workers()
        assert (found.complete, found.applied, len(found.polling)) == (False, 0, 1)


@pytest.mark.parametrize(
    ("name", "fake", "elsewhere"),
    [
        ("flagstaff._workers.barrier.is_pooled", lambda connection, session: True, False),
        ("flagstaff._workers.wait.server_address", lambda connection: (object(),), True),
    ],
    ids=["pooled connection", "engine at another address"],
)
def test_connection_may_hide_workers(
    name: str,
    fake: Callable[..., object],
    elsewhere: bool,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert wait_for_workers(0, expect=0).possibly_hidden is False
    monkeypatch.setattr(name, fake)
    found = wait_for_workers(DUE + 1, expect=0)
    assert (found.possibly_hidden, found.possibly_elsewhere) == (True, elsewhere)
    # Nothing is known of the delay of another server.
    assert found.polled is not elsewhere
    # A session of a pooler proves that the other address leads here.
    join().set_name("flagstaff")
    assert wait_for_workers(0, expect=0).possibly_elsewhere is False


def test_no_worker_is_incomplete_unless_none_is_expected() -> None:
    assert (wait_for_workers().complete, wait_for_workers().connected) == (False, 0)
    assert wait_for_workers(expect=0).complete is True


def test_wait_continues_until_the_expected_workers_are_connected(
    join: Join, set_steps: SetSteps
) -> None:
    one = join("web-1")
    set_steps(one.load, lambda: join("web-2").load())
    found = wait_for_workers(expect=2)
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))
    late = join("web-3")
    set_steps(one.load, late.load)
    found = wait_for_workers(expect=5)
    assert (found.complete, counts(found)) == (False, (2, 1, 0, 2))
    assert found.seconds == pytest.approx(5)
    # When the last of them had applied it.
    assert found.applied_after is not None
    assert 0 < found.applied_after < 0.1


# Transactions and rights.


def test_open_transaction_is_refused_before_a_barrier_is_created() -> None:
    before = rows("SELECT count(*) FROM flagstaff_token")
    with transaction.atomic(), pytest.raises(PropagationError, match=r"transaction\.on_commit"):
        wait_for_workers()
    connection.set_autocommit(False)
    try:
        with pytest.raises(PropagationError, match="a transaction is open"):
            wait_for_workers()
    finally:
        connection.set_autocommit(True)
    assert rows("SELECT count(*) FROM flagstaff_token") == before


def test_on_commit_callback_may_wait(join: Join, set_steps: SetSteps) -> None:
    set_steps(join().load)
    found = []
    with transaction.atomic():
        FeatureFlag.objects.create(key="new_checkout")
        transaction.on_commit(lambda: found.append(wait_for_workers()))
    assert [one.complete for one in found] == [True]


@pytest.fixture
def web() -> Iterator[str]:
    """A role that may write flags and owns nothing."""
    rows("CREATE ROLE web; GRANT SELECT, UPDATE ON flagstaff_featureflag TO web; SET ROLE web")
    yield "web"
    rows("RESET ROLE; DROP OWNED BY web; DROP ROLE web")


def test_role_without_the_right_gets_the_statements_that_grant_it(
    web: str, join: Join, set_steps: SetSteps
) -> None:
    with pytest.raises(PropagationError) as refused:
        wait_for_workers()
    message, _, grants = str(refused.value).partition(" run: ")
    assert message == "the role web has no right to wait for workers; as the owner of the tables,"
    [page] = code_of("how-to/propagation.md", "sql")
    assert grants.replace("public.", "").split() == page.replace('"', "").split()
    rows(f"RESET ROLE; {grants} SET ROLE web")
    set_steps(join().load)
    # The role sees the names of all sessions, including those of other roles.
    assert counts(wait_for_workers()) == (1, 0, 0, 0)


def test_tables_of_another_schema_are_found(join: Join, set_steps: SetSteps) -> None:
    schema = '"my \'shop"'
    rows(f"CREATE SCHEMA {schema}")
    rows(f"SET search_path = {schema}, public")
    names = {"schema": schema, "token_table": f"{schema}.flagstaff_token"}
    for file in ("tokens_v1", "token_functions_v1", "barrier_function_v1"):
        rows(fill(sql(file), names))
    try:
        set_steps(join(options=f"-c search_path={schema.replace(' ', chr(92) + ' ')}").load)
        assert wait_for_workers().complete is True
    finally:
        rows("RESET search_path")
        rows(f"DROP SCHEMA {schema} CASCADE")


def test_missing_table_or_function_is_reported() -> None:
    rows("ALTER FUNCTION flagstaff_barrier_v1() RENAME TO hidden")
    try:
        with pytest.raises(
            PropagationError, match=r"function .* does not exist.*manage\.py migrate"
        ):
            wait_for_workers()
        rows("SET search_path = pg_catalog")
        with pytest.raises(PropagationError, match=r"the token table is not .*manage\.py migrate"):
            wait_for_workers()
    finally:
        rows("RESET search_path")
        rows("ALTER FUNCTION hidden() RENAME TO flagstaff_barrier_v1")


# Restores and failures.


def test_sequence_behind_its_rows_is_reported_with_the_repair(join: Join) -> None:
    worker = join()
    create_token()
    worker.load()
    rows("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
    with pytest.raises(PropagationError, match="is lower than the highest id") as refused:
        wait_for_workers()
    rows(str(refused.value).partition(" run: ")[2])
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0)


def test_restore_during_the_wait_ends_it(join: Join, set_steps: SetSteps) -> None:
    join()
    set_steps(lambda: rows("DELETE FROM flagstaff_token"))
    with pytest.raises(
        PropagationError, match="the row that this wait added to flagstaff_token no longer"
    ):
        wait_for_workers()


def test_lost_connection_is_reported_with_its_cause(join: Join, set_steps: SetSteps) -> None:
    worker = join()
    [[pid]] = rows("SELECT pg_backend_pid()")
    set_steps(lambda: worker.query("SELECT pg_terminate_backend(%s)", pid))
    with pytest.raises(PropagationError, match="the workers cannot be listed: "):
        wait_for_workers()
    connection.close()


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_invalid_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds, not "):
        wait_for_workers(timeout)


def test_propagation_is_json_serializable(join: Join) -> None:
    join("web-1", 7)
    document = json.loads(json.dumps(wait_for_workers(0).as_dict()))
    assert set(document) == {
        *("complete", "applied", "pending", "polling", "disconnected", "missing"),
        *("possibly_hidden", "possibly_elsewhere", "polled"),
        *("seconds", "applied_after", "polling_deadline"),
    }
    assert (document["pending"][0]["host"], document["pending"][0]["pid"]) == ("web-1", 7)


# Direct mode.


@pytest.mark.django_db
def test_direct_mode_has_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # The transaction of the test does not count.
    monkeypatch.setattr(direct, "is_required", lambda: True)
    found = wait_for_workers(expect=7)
    assert (found.complete, found.connected, found.polling_deadline) == (True, 0, None)
