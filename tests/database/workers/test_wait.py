"""`wait_for_workers`: which workers have applied what is committed."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

import flagstaff
from flagstaff._engine import direct
from flagstaff._tables.database import fill, own_names, sql
from flagstaff._workers.wait import Propagation, wait_for_workers
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.database.workers.conftest import SetSteps
from tests.support.fake_workers import NEWEST, FakeWorker, Join, join, let_pass
from tests.support.pages import code_of
from tests.support.sql import rows
from tools.token_triggers import always

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


def create_token() -> tuple[int, int]:
    """Creates a token, and returns its id and random number."""
    rows("SELECT flagstaff_barrier_v1()")
    [(id_, nonce)] = rows(NEWEST)
    return id_, nonce


def counts(outcome: Propagation) -> tuple[int, int, int, int, int]:
    """The numbers of workers that applied it, are pending, lost, do not report, and are missing."""
    return (
        outcome.applied,
        len(outcome.pending),
        len(outcome.lost),
        outcome.unreported,
        outcome.missing,
    )


Steps = Callable[[FakeWorker, FakeWorker], "tuple[Callable[[], object], ...]"]

# What happens to two workers during the wait, and `counts`. Both look like one: only the random
# name of a row tells containers, or a process id that is used again, apart.
WAITS: dict[str, tuple[Steps, tuple[int, ...]]] = {
    "both load": (lambda first, other: (first.load, other.load), (2, 0, 0, 0, 0)),
    "none loads": (lambda first, other: (), (0, 2, 0, 0, 0)),
    "one loads": (lambda first, other: (first.load,), (1, 1, 0, 0, 0)),
    "one is killed": (lambda first, other: (first.load, other.leave), (1, 1, 0, 0, 0)),
    "one is killed after it has loaded": (
        lambda first, other: (first.load, first.leave, other.load),
        (2, 0, 0, 0, 0),
    ),
    "one ends": (lambda first, other: (first.load, other.end), (1, 0, 0, 0, 0)),
}


@pytest.mark.parametrize(("steps", "expected"), WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("is_pooled", [False, True], ids=["direct", "pooled"])
def test_wait_is_complete_if_all_workers_have_loaded_or_ended(
    is_pooled: bool, steps: Steps, expected: tuple[int, ...], join: Join, set_steps: SetSteps
) -> None:
    first, other = join("web-1", 9, is_pooled=is_pooled), join("web-1", 9, is_pooled=is_pooled)
    for worker in (first, other):
        worker.report(*create_token())
    set_steps(*steps(first, other))
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (expected[1] == 0, expected)
    assert outcome.seconds < 0.1 if outcome.complete else outcome.seconds == pytest.approx(5.5 + 1)
    assert (outcome.applied_after is None) is (outcome.applied == 0)
    assert {str(worker) for worker in outcome.pending} <= {"web-1 (pid 9)"}


def test_killed_worker_is_expected_for_30_seconds_and_then_lost(join: Join) -> None:
    worker, killed = join("web-1"), join("web-2", 7)
    killed.leave()
    let_pass(15)
    assert counts(wait_for_workers(0)) == (0, 2, 0, 0, 0)
    let_pass(16)
    # The other one has a session.
    worker.load()
    outcome = wait_for_workers(0)
    assert counts(outcome) == (0, 1, 1, 0, 0)
    assert [str(lost) for lost in outcome.lost] == ["web-2 (pid 7)"]


def test_lost_worker_does_not_keep_the_wait_and_is_named(join: Join, set_steps: SetSteps) -> None:
    worker = join("web-1")
    join("web-2").leave()
    let_pass(31)
    set_steps(worker.load)
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (True, (1, 0, 1, 0, 0))


def test_token_created_before_the_barrier_does_not_count_after_a_late_commit(
    join: Join, set_steps: SetSteps
) -> None:
    # The change commits after a transaction that created its token later: the worker shows a token
    # newer than that of the change, and has not loaded the change.
    worker, other = join("web-1"), join(reports=False, application_name="psql")
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false")
    worker.report(*create_token())
    other.query("COMMIT")
    assert wait_for_workers().applied == 0
    set_steps(worker.load)
    assert wait_for_workers().complete is True


#: What a worker reports instead of the token and its random number.
CLAIMS: dict[str, Callable[[int, int], tuple[Any, ...]]] = {
    "no row": lambda token, nonce: (token + 1, nonce),
    "other nonce": lambda token, nonce: (token, nonce ^ 1),
    "token 0": lambda token, nonce: (0, 0),
    "far ahead": lambda token, nonce: (2**63 - 1, nonce),
    "mode without tokens": lambda token, nonce: (token, nonce, "reload"),
}


def oids() -> dict[str, int]:
    """The primary keys of tables in PostgreSQL's catalog."""
    return dict(rows("SELECT relname, oid FROM pg_class WHERE relname LIKE 'flagstaff%%'"))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_worker_with_an_invalid_token_is_pending(
    claim: Callable[[int, int], tuple[Any, ...]], join: Join, set_steps: SetSteps
) -> None:
    worker = join()
    set_steps(lambda: worker.report(*claim(*worker.query(NEWEST)[0])))
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (False, (0, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("flagstaff", 1),
        # A worker that is connected directly names the table of tokens of its project.
        ("flagstaff {flagstaff_token} 7 web-1", 1),
        ("flagstaff {flagstaff_change} 7 web-1", 0),
        ("flagstaff-reports", 0),
        ("psql", 0),
    ],
)
def test_session_of_a_worker_without_a_row_makes_the_wait_incomplete(
    name: str, count: int, join: Join, set_steps: SetSteps
) -> None:
    worker = join()
    join(reports=False, application_name=name.format(**oids()))
    set_steps(worker.load)
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (count == 0, (1, 0, 0, count, 0))


def test_worker_that_has_just_connected_is_waited_for(join: Join, set_steps: SetSteps) -> None:
    worker, new = join("web-1"), join("web-2", reports=False)
    set_steps(worker.load, new.report, new.load)
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (True, (2, 0, 0, 0, 0))


def test_worker_that_reconnects_has_one_row(join: Join, set_steps: SetSteps) -> None:
    before, after = join("web-1"), join("web-1", reports=False)
    after.secret = before.secret
    before.leave()
    assert counts(wait_for_workers(0)) == (0, 1, 0, 1, 0)
    set_steps(after.load)
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (True, (1, 0, 0, 0, 0))


@pytest.fixture
def other_role() -> Iterator[dict[str, str]]:
    """The log-in of another role."""
    rows("CREATE ROLE other_workers LOGIN PASSWORD 'secret'")
    yield {"user": "other_workers", "password": "secret"}
    rows("DROP ROLE other_workers")


def test_session_of_a_pooler_belongs_to_the_workers_of_its_role(
    other_role: dict[str, str], join: Join, set_steps: SetSteps
) -> None:
    worker = join(is_pooled=True)
    join(reports=False)
    set_steps(worker.load)
    outcome = wait_for_workers()
    assert (outcome.complete, counts(outcome)) == (True, (1, 0, 0, 0, 0))
    name = f"flagstaff {oids()['flagstaff_token']} 99 celery-1"
    for parameters in (other_role, {"application_name": name}):
        session = join(reports=False, **parameters)
        assert wait_for_workers(0).unreported == 1
        session.leave()


def test_no_worker_is_incomplete_unless_none_is_expected() -> None:
    assert (wait_for_workers().complete, wait_for_workers().registered) == (False, 0)
    assert wait_for_workers(expect=0).complete is True


def test_wait_continues_until_the_expected_workers_are_registered(
    join: Join, set_steps: SetSteps
) -> None:
    worker = join("web-1")
    set_steps(worker.load, lambda: join("web-2").load())
    outcome = wait_for_workers(expect=2)
    assert (outcome.complete, counts(outcome)) == (True, (2, 0, 0, 0, 0))
    late = join("web-3")
    set_steps(worker.load, late.load)
    outcome = wait_for_workers(expect=5)
    assert (outcome.complete, counts(outcome)) == (False, (2, 1, 0, 0, 2))
    # When the last of them had applied it.
    assert outcome.applied_after is not None
    assert 0 < outcome.applied_after < 0.1


@pytest.mark.parametrize(("poll_interval", "timeout"), [(1, 5.0), (5, 6.5), (60, 67.0)])
def test_wait_without_a_timeout_is_long_enough_for_workers_that_poll(
    poll_interval: float, timeout: float, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(conf), "poll_interval", poll_interval)
    join()
    assert wait_for_workers().seconds == pytest.approx(timeout)


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
    waited = []
    with transaction.atomic():
        FeatureFlag.objects.create(key="new_checkout")
        transaction.on_commit(lambda: waited.append(wait_for_workers()))
    assert [outcome.complete for outcome in waited] == [True]


@pytest.fixture
def web() -> Iterator[str]:
    """A role that may write flags and owns nothing."""
    rows("CREATE ROLE web; GRANT SELECT, UPDATE ON flagstaff_featureflag TO web; SET ROLE web")
    yield "web"
    rows("RESET ROLE; DROP OWNED BY web; DROP ROLE web")


def test_role_needs_the_rights_of_the_page(join: Join, web: str, set_steps: SetSteps) -> None:
    with pytest.raises(PropagationError, match="permission denied for table flagstaff_token"):
        wait_for_workers()
    [grants] = code_of("how-to/database-rights.md", "sql", "flagstaff_barrier_v1")
    rows(f"RESET ROLE; {grants} SET ROLE web")
    set_steps(join().load)
    # The role sees the names of all sessions, including those of other roles.
    assert counts(wait_for_workers()) == (1, 0, 0, 0, 0)


def test_tables_of_another_schema_are_found(join: Join, set_steps: SetSteps) -> None:
    schema = '"my \'shop"'
    rows(f"CREATE SCHEMA {schema}")
    rows(f"SET search_path = {schema}, public")
    tables = {name: f"{schema}.{table}" for name, table in own_names(connection).items()}
    for file in (
        *("tokens_v1", "workers_table_v1", "echo_table_v1", "token_functions_v1"),
        *("barrier_function_v1", "worker_function_v1"),
    ):
        rows(fill(sql(file), {"schema": schema, **tables}))
    try:
        set_steps(join(options=f"-c search_path={schema.replace(' ', chr(92) + ' ')}").load)
        assert wait_for_workers().complete is True
    finally:
        rows("RESET search_path")
        rows(f"DROP SCHEMA {schema} CASCADE")


def test_missing_function_is_reported() -> None:
    rows("ALTER FUNCTION flagstaff_barrier_v1() RENAME TO hidden")
    try:
        with pytest.raises(PropagationError, match=r"SQLSTATE 42883.*manage\.py check"):
            wait_for_workers()
    finally:
        rows("ALTER FUNCTION hidden() RENAME TO flagstaff_barrier_v1")


@pytest.mark.parametrize(
    "statement", ["DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER flagstaff_token_update_v1"]
)
def test_disabled_token_trigger_is_reported_because_the_change_wrote_no_token(
    statement: str,
) -> None:
    rows(f"ALTER TABLE flagstaff_keyvaluestore {statement}")
    try:
        with pytest.raises(PropagationError, match="a token trigger is missing or disabled"):
            wait_for_workers()
    finally:
        rows("ALTER TABLE flagstaff_keyvaluestore ENABLE TRIGGER ALL")
        rows(always("flagstaff_keyvaluestore"))


def test_sequence_behind_its_rows_is_reported(join: Join) -> None:
    worker = join()
    create_token()
    worker.load()
    rows("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
    with pytest.raises(PropagationError, match="is lower than the highest id"):
        wait_for_workers()
    # As the check says.
    rows(
        "SELECT setval(pg_get_serial_sequence('flagstaff_token', 'id'), max(id))"
        " FROM flagstaff_token"
    )
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0, 0)


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
        *(
            "complete",
            "applied",
            "pending",
            "lost",
            "unreported",
            "missing",
            "silent_regions",
            "unasked_regions",
            "unknown_receivers",
        ),
        *("seconds", "applied_after", "direct"),
    }
    assert (document["pending"][0]["host"], document["pending"][0]["pid"]) == ("web-1", 7)


def test_direct_mode_has_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # The transaction of the test does not count.
    monkeypatch.setattr(direct, "is_required", lambda: True)
    assert flagstaff.wait_for_workers(expect=7) == Propagation(complete=True, direct=True)
