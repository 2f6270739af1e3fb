"""`wait_for_workers`: which workers have applied a change, and no false claims."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff import wait_for_workers
from flagstaff._engine import direct, usage_tables
from flagstaff._tables.names import fill
from flagstaff._tables.names import sql as template
from flagstaff._workers import tracker, wait
from flagstaff._workers.sessions import parse_name
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.conftest import ROOT
from tests.support.fake_workers import NEWEST, FakeWorker, Join, join, other_token_table
from tests.support.pages import code_of
from tests.support.step_clock import StepClock

__all__ = ["join", "other_token_table"]

pytestmark = pytest.mark.django_db(transaction=True)

SetSteps = Callable[..., None]


@pytest.fixture(autouse=True)
def serving_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is no test runner, and has not waited before."""
    monkeypatch.setattr(direct, "is_required", lambda: False)
    monkeypatch.setattr(tracker, "_remembered", {})


@pytest.fixture(autouse=True)
def set_steps(monkeypatch: pytest.MonkeyPatch) -> SetSteps:
    """Sets what happens between the queries of the next wait, in order. No time passes."""
    clock = StepClock()
    clock.install(monkeypatch, wait)

    def set_steps(*steps: Callable[[], object]) -> None:
        clock.steps = list(steps)

    return set_steps


def sql(statement: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchone() if cursor.description else None


def create_token() -> tuple[int, str]:
    """Creates a token that is newer than all others."""
    sql("SELECT flagstaff_barrier_v1()")
    [id_, nonce] = sql(NEWEST)
    return (id_, nonce)


def counts(found: wait.Propagation) -> tuple[int, int, int, int]:
    """The numbers of applied, pending, disconnected and missing workers."""
    return found.applied, len(found.pending), len(found.disconnected), found.missing


# Which workers have applied it.


def test_worker_that_loads_after_the_barrier_has_applied_it(
    join: Join, set_steps: SetSteps
) -> None:
    worker = join()
    worker.show(*create_token())
    set_steps(worker.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (1, 0, 0, 0))


def test_applied_after_is_the_time_at_which_the_last_worker_had_it(
    join: Join, set_steps: SetSteps
) -> None:
    early, late = join("web-1"), join("web-2")
    set_steps(early.load, late.load)
    found = wait_for_workers(expect=3)
    assert counts(found) == (2, 0, 0, 1)
    assert found.seconds == pytest.approx(5)
    assert found.applied_after is not None
    assert 0 < found.applied_after < 0.1


def test_applied_after_is_none_if_no_worker_has_it(join: Join) -> None:
    join("web-1").show(*create_token())
    assert wait_for_workers().applied_after is None


def test_worker_that_does_not_load_is_pending(join: Join) -> None:
    join("web-1", 7).show(*create_token())
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (0, 1, 0, 0))
    assert [str(worker) for worker in found.pending] == ["web-1 (pid 7)"]
    assert found.seconds == pytest.approx(5)


def test_wait_ends_when_the_last_worker_has_loaded(join: Join, set_steps: SetSteps) -> None:
    early, late = join("web-1"), join("web-2")
    set_steps(early.load, lambda: None, late.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))
    assert found.seconds < 0.1


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


@pytest.mark.parametrize("name", ["S", "no row", "other nonce", "token 0", "far ahead"])
def test_worker_with_an_invalid_token_is_pending(
    name: str, join: Join, set_steps: SetSteps
) -> None:
    worker = join()

    def claim() -> None:
        worker.load()
        token, nonce = worker.token
        others: dict[str, Callable[[], object]] = {
            "S": lambda: worker.show(mode="S"),
            "other nonce": lambda: worker.show(token, f"{int(nonce, 16) ^ 1:08x}"),
            "token 0": lambda: worker.show(0, "00000000"),
            "far ahead": lambda: worker.show(2**63 - 1, nonce),
        }
        if name == "no row":
            worker.show(*create_token())
            sql("DELETE FROM flagstaff_token WHERE id = %s", worker.token[0])
        else:
            others[name]()

    set_steps(claim)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (0, 1, 0, 0))


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


@pytest.mark.parametrize("name", ["", "fs2", "fs10 1 00000000 L 1 web", "flagstaff 17", "psql"])
def test_session_of_another_client_is_not_a_worker(name: str, join: Join) -> None:
    join().set_name(name)
    assert counts(wait_for_workers(0)) == (0, 0, 0, 0)


def test_worker_of_another_database_is_not_listed(join: Join) -> None:
    join(database="postgres")
    assert wait_for_workers(0).connected == 0


def test_worker_of_another_project_is_left_out(
    join: Join, set_steps: SetSteps, other_token_table: int
) -> None:
    join("web-2", table=other_token_table)
    set_steps(join("web-1").load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (1, 0, 0, 0))


def test_workers_of_another_project_alone_are_no_workers(
    join: Join, other_token_table: int
) -> None:
    join(table=other_token_table)
    assert (wait_for_workers(0).complete, wait_for_workers(0).connected) == (False, 0)


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


def test_name_is_parsed() -> None:
    worker = parse_name("fs2 16404 62518 0a1b2c3d L 4711 ~t.example web 1", 99)
    assert (worker.token, worker.nonce, worker.mode) == (62518, "0a1b2c3d", "live")
    assert (worker.host, worker.pid, worker.session) == ("~t.example web 1", 4711, 99)


# Identities.


def test_two_containers_with_one_identity_both_have_to_apply_it(
    join: Join, set_steps: SetSteps
) -> None:
    one, other = join("web", 1), join("web", 1)
    set_steps(one.load)
    assert counts(wait_for_workers()) == (1, 1, 0, 0)
    set_steps(one.load, other.load)
    assert counts(wait_for_workers()) == (2, 0, 0, 0)


def test_one_of_two_workers_with_one_identity_is_listed_when_it_disconnects(
    join: Join, set_steps: SetSteps
) -> None:
    one, other = join("web", 1), join("web", 1)
    set_steps(one.load, other.leave)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (1, 0, 1, 0))


def test_worker_that_disconnects_is_listed(join: Join, set_steps: SetSteps) -> None:
    one, other = join("web-1"), join("web-2", 9)
    set_steps(one.load, other.leave)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (1, 0, 1, 0))
    assert str(found.disconnected[0]) == "web-2 (pid 9)"


def test_worker_that_disconnects_after_applying_it_counts(join: Join, set_steps: SetSteps) -> None:
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, one.leave, other.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))


def test_worker_that_reconnects_has_to_load_again(join: Join, set_steps: SetSteps) -> None:
    worker = join("web-1", 5)

    def reconnect() -> None:
        worker.leave()
        join("web-1", 5, "S").show(*worker.token)

    set_steps(reconnect)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (False, (0, 1, 0, 0))


def test_worker_with_two_sessions_has_to_apply_it_in_both(join: Join, set_steps: SetSteps) -> None:
    # Its first connection is dead and the server has not noticed; or these are two workers.
    join("web-1", 5)
    set_steps(join("web-1", 5).load)
    assert counts(wait_for_workers()) == (1, 1, 0, 0)


def test_worker_that_reconnects_in_time_is_not_disconnected(
    join: Join, set_steps: SetSteps
) -> None:
    worker = join("web-1", 5)
    set_steps(worker.leave, lambda: None, lambda: join("web-1", 5).load())
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (1, 0, 0, 0))


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
    assert found.seconds < 0.1
    monkeypatch.setattr(tracker, "_MEMORY", 0.0)
    set_steps(one.load)
    assert wait_for_workers().complete is True


# Workers that ended normally report it with their last counts.


def end(worker: FakeWorker, host: str = "", *, seconds_ago: float = 0) -> None:
    """Reports the end of a worker, as its last flush does, and closes its session."""
    sql(
        "INSERT INTO flagstaff_usage_worker (worker, host, pid, started_at, flush_interval, "
        "sequence, last_seen_at, stopped_at) SELECT gen_random_uuid(), %s, %s, at, 60, 1, at, at "
        "FROM (SELECT clock_timestamp() - make_interval(secs => %s)) AS stop (at)",
        *(host or worker.host, worker.pid, seconds_ago),
    )
    worker.leave()


@pytest.fixture
def usage_rows() -> Iterator[None]:
    yield
    sql("TRUNCATE flagstaff_usage_worker")


def seen_before(*workers: FakeWorker, set_steps: SetSteps) -> None:
    """Lets the workers apply a change, and this process see it."""
    set_steps(*(worker.load for worker in workers))
    assert wait_for_workers().complete is True


def test_worker_that_ended_during_the_wait_is_not_waited_for(
    join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other = join("web-1"), join("web-2", 9)
    set_steps(one.load, lambda: end(other))
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (1, 0, 0, 0))
    assert found.seconds < 0.1


@pytest.mark.parametrize(
    ("host", "shown"),
    [("web-2", "web-2"), ("shop:1", "shop_1"), ("shop-frontend-x7k2p", "~ntend-x7k2p")],
)
def test_worker_of_an_earlier_wait_that_ended_is_not_listed(
    host: str, shown: str, join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other = join("web-1"), join(shown, 9)
    seen_before(one, other, set_steps=set_steps)
    end(other, host)
    set_steps(one.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (1, 0, 0, 0))


def test_report_of_an_earlier_process_does_not_count(
    join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other = join("web-1"), join("web-2", 1)
    seen_before(one, other, set_steps=set_steps)
    end(other, seconds_ago=60)
    set_steps(one.load)
    assert counts(wait_for_workers()) == (1, 0, 1, 0)


def test_report_of_another_process_does_not_count(
    join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other, third = join("web-1"), join("web-2", 1), join("web-2", 2)
    seen_before(one, other, third, set_steps=set_steps)
    end(third)
    other.leave()
    set_steps(one.load)
    found = wait_for_workers()
    assert [str(worker) for worker in found.disconnected] == ["web-2 (pid 1)"]


def test_one_report_does_not_replace_two_workers_with_one_identity(
    join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other, third = join("web-1"), join("web", 1), join("web", 1)
    seen_before(one, other, third, set_steps=set_steps)
    end(third)
    other.leave()
    set_steps(one.load)
    assert counts(wait_for_workers()) == (1, 0, 1, 0)


def test_ended_worker_is_missing_if_its_number_is_expected(
    join: Join, set_steps: SetSteps, usage_rows: None
) -> None:
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, lambda: end(other))
    found = wait_for_workers(0.5, expect=2)
    assert (found.complete, counts(found)) == (False, (1, 0, 0, 1))


def test_ended_worker_is_listed_if_the_counts_cannot_be_read(
    join: Join, set_steps: SetSteps, usage_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_tables, "why_unavailable", lambda *_: "row level security")
    one, other = join("web-1"), join("web-2")
    set_steps(one.load, lambda: end(other))
    assert counts(wait_for_workers()) == (1, 0, 1, 0)


# Polling, expected and hidden workers.


@pytest.mark.parametrize(("mode", "bound"), [("P", 5.5 + 17), ("R", 60 + 5.5 + 17)])
def test_polling_worker_gets_a_deadline_and_does_not_count(
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
    assert found.seconds < 1.1


def test_worker_that_has_just_connected_is_expected_to_load(
    join: Join, set_steps: SetSteps
) -> None:
    worker, new = join("web-1"), join("web-2")
    new.set_name("flagstaff")
    set_steps(worker.load, lambda: new.show(mode="S"), lambda: new.show(mode="L"), new.load)
    found = wait_for_workers()
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))


@pytest.mark.parametrize("statement", ["DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER {name}"])
def test_worker_gets_a_deadline_if_a_token_trigger_is_disabled(
    statement: str, join: Join, set_steps: SetSteps
) -> None:
    # The worker gets the barrier. The change wrote no token, so it does not load the table.
    names = "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'flagstaff%token%' AND tgrelid = "
    [name] = sql(f"{names} 'flagstaff_keyvaluestore'::regclass")
    sql(f"ALTER TABLE flagstaff_keyvaluestore {statement.format(name=name)}")
    try:
        set_steps(join().load)
        found = wait_for_workers()
        assert (found.complete, found.applied, len(found.polling)) == (False, 0, 1)
    finally:
        sql("ALTER TABLE flagstaff_keyvaluestore ENABLE TRIGGER ALL")
        sql(f"ALTER TABLE flagstaff_keyvaluestore ENABLE ALWAYS TRIGGER {name}")


def test_pooled_connection_may_hide_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flagstaff._workers.barrier._is_pooled", lambda connection, session: True)
    assert wait_for_workers(0, expect=0).possibly_hidden is True


def test_engine_at_another_address_may_hide_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_address", lambda connection: (object(),))
    assert wait_for_workers(0, expect=0).possibly_hidden is True


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
    set_steps(one.load)
    found = wait_for_workers(expect=4)
    assert (found.complete, counts(found)) == (False, (1, 1, 0, 2))


def test_wait_includes_more_workers_than_expected(join: Join, set_steps: SetSteps) -> None:
    set_steps(join("web-1").load, join("web-2").load)
    found = wait_for_workers(expect=1)
    assert (found.complete, counts(found)) == (True, (2, 0, 0, 0))


# Transactions and rights.


def test_open_transaction_is_refused_before_a_barrier_is_created() -> None:
    before = sql("SELECT count(*) FROM flagstaff_token")
    with transaction.atomic(), pytest.raises(PropagationError, match=r"transaction\.on_commit"):
        wait_for_workers()
    connection.set_autocommit(False)
    try:
        with pytest.raises(PropagationError, match="a transaction is open"):
            wait_for_workers()
    finally:
        connection.set_autocommit(True)
    assert sql("SELECT count(*) FROM flagstaff_token") == before


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
    sql("CREATE ROLE web; GRANT SELECT, UPDATE ON flagstaff_featureflag TO web; SET ROLE web")
    yield "web"
    sql("RESET ROLE; DROP OWNED BY web; DROP ROLE web")


def test_role_without_the_right_gets_the_statements_that_grant_it(
    web: str, join: Join, set_steps: SetSteps
) -> None:
    with pytest.raises(PropagationError) as refused:
        wait_for_workers()
    message, _, grants = str(refused.value).partition(" run: ")
    assert message == "the role web has no right to wait for workers; as the owner of the tables,"
    [page] = code_of("how-to/propagation.md", "sql")
    assert grants.replace("public.", "").split() == page.replace('"', "").split()
    sql(f"RESET ROLE; {grants} SET ROLE web")
    set_steps(join().load)
    # The role sees the names of all sessions, including those of other roles.
    assert counts(wait_for_workers()) == (1, 0, 0, 0)


def test_tables_of_another_schema_are_found(join: Join, set_steps: SetSteps) -> None:
    schema = '"my \'shop"'
    sql(f"CREATE SCHEMA {schema}")
    sql(f"SET search_path = {schema}, public")
    names = {"schema": schema, "token_table": f"{schema}.flagstaff_token"}
    for file in ("tokens_v1", "token_functions_v1", "barrier_function_v1"):
        sql(fill(template(file), names))
    try:
        set_steps(join(options=f"-c search_path={schema.replace(' ', chr(92) + ' ')}").load)
        assert wait_for_workers().complete is True
    finally:
        sql("RESET search_path")
        sql(f"DROP SCHEMA {schema} CASCADE")


def test_missing_table_or_function_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    sql("ALTER FUNCTION flagstaff_barrier_v1() RENAME TO hidden")
    try:
        with pytest.raises(
            PropagationError, match=r"the function .* does not exist.*manage\.py migrate"
        ):
            wait_for_workers()
    finally:
        sql("ALTER FUNCTION hidden() RENAME TO flagstaff_barrier_v1")
    sql("SET search_path = pg_catalog")
    try:
        with pytest.raises(PropagationError, match=r"the token table is not .*manage\.py migrate"):
            wait_for_workers()
    finally:
        sql("RESET search_path")


# Restores and failures.


def test_sequence_behind_its_rows_is_reported_with_the_repair(join: Join) -> None:
    worker = join()
    create_token()
    worker.load()
    sql("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
    with pytest.raises(PropagationError, match="is lower than the highest id") as refused:
        wait_for_workers()
    sql(str(refused.value).partition(" run: ")[2])
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0)


def test_restore_during_the_wait_ends_it(join: Join, set_steps: SetSteps) -> None:
    join()
    set_steps(lambda: sql("DELETE FROM flagstaff_token"))
    with pytest.raises(
        PropagationError, match="the row that this wait added to flagstaff_token no longer"
    ):
        wait_for_workers()


def test_lost_connection_is_reported_with_its_cause(join: Join, set_steps: SetSteps) -> None:
    worker = join()
    pid = sql("SELECT pg_backend_pid()")[0]
    set_steps(lambda: worker.query("SELECT pg_terminate_backend(%s)", pid))
    with pytest.raises(PropagationError, match="the workers cannot be listed: "):
        wait_for_workers()
    connection.close()


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_invalid_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds, not "):
        wait_for_workers(timeout)


def test_propagation_is_json_serializable(join: Join) -> None:
    join("web-1", 7).load()
    document = json.loads(json.dumps(wait_for_workers(0).as_dict()))
    assert set(document) == {
        *("complete", "applied", "pending", "polling", "disconnected", "missing"),
        *("possibly_hidden", "seconds", "applied_after", "polling_deadline"),
    }
    assert (document["pending"][0]["host"], document["pending"][0]["pid"]) == ("web-1", 7)


# Direct mode.


def test_direct_mode_has_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_required", lambda: True)
    found = wait_for_workers(expect=7)
    assert (found.complete, found.connected, found.polling_deadline) == (True, 0, None)


@pytest.mark.django_db
class TestInTransactionOfTheTest:
    def test_transaction_of_the_test_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "is_required", lambda: True)
        assert wait_for_workers().complete is True
