"""`confirm`: who has applied a change, and never more than that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff import wait_for_workers
from flagstaff._engine import direct
from flagstaff._tables.names import fill
from flagstaff._tables.names import sql as template
from flagstaff._workers import tracker, wait
from flagstaff._workers.sessions import parse
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.conftest import ROOT
from tests.fake_workers import NEWEST, Join, join
from tests.pages import code_of
from tests.step_clock import StepClock

__all__ = ["join"]

pytestmark = pytest.mark.django_db(transaction=True)

Then = Callable[..., None]


@pytest.fixture(autouse=True)
def as_in_a_process_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_called_for", lambda: False)
    monkeypatch.setattr(tracker, "_remembered", {})


@pytest.fixture(autouse=True)
def then(monkeypatch: pytest.MonkeyPatch) -> Then:
    """What happens between the looks of the next wait, one after the other. No time passes."""
    clock = StepClock()
    monkeypatch.setattr(wait, "time", clock)

    def then(*following: Callable[[], object]) -> None:
        clock.steps = list(following)

    return then


def sql(statement: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchone() if cursor.description else None


def draw() -> tuple[int, str]:
    """A token that is newer than all that are there."""
    sql("SELECT flagstaff_barrier_v1()")
    [id_, nonce] = sql(NEWEST)
    return (id_, nonce)


def counts(found: wait.Propagation) -> tuple[int, int, int, int]:
    """How many have applied it, wait, have vanished and were never seen."""
    return found.applied, len(found.waiting), len(found.vanished), found.missing


# Who has applied it.


def test_worker_that_loads_after_the_barrier_has_applied_it(join: Join, then: Then) -> None:
    worker = join()
    worker.show(*draw())
    then(worker.load)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (True, (1, 0, 0, 0))


def test_worker_that_does_not_load_is_named(join: Join) -> None:
    join("web-1", 7).show(*draw())
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (0, 1, 0, 0))
    assert [str(worker) for worker in found.waiting] == ["web-1 (pid 7)"]
    assert found.seconds == pytest.approx(5)


def test_late_worker_is_waited_for_and_not_longer(join: Join, then: Then) -> None:
    early, late = join("web-1"), join("web-2")
    then(early.load, lambda: None, late.load)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (True, (2, 0, 0, 0))
    assert found.seconds < 0.1


def test_token_drawn_before_the_barrier_proves_nothing_however_late_it_is_seen(
    join: Join, then: Then
) -> None:
    # The change commits after a transaction that drew its token later: the worker shows a token
    # that is newer than that of the change, and has not seen the change.
    worker, other = join("web-1"), join("writer")
    other.set_name("psql")
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false")
    newer = draw()
    worker.show(*newer)
    other.query("COMMIT")
    assert wait_for_workers().applied == 0
    then(worker.load)
    assert wait_for_workers().confirmed is True


@pytest.mark.parametrize("name", ["S", "no row", "other nonce", "token 0", "far ahead"])
def test_token_that_proves_nothing_is_not_believed(name: str, join: Join, then: Then) -> None:
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
            worker.show(*draw())
            sql("DELETE FROM flagstaff_token WHERE id = %s", worker.token[0])
        else:
            others[name]()

    then(claim)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (0, 1, 0, 0))


@pytest.mark.parametrize(
    "name",
    ["fs1 ", "fs1 garbage", "fs1 9 zzzzzzzz L 1 web", "fs1 99999999999999999999 00000000 L 1 web"],
)
def test_name_that_cannot_be_read_is_waited_for(name: str, join: Join) -> None:
    worker = join()
    worker.set_name(name)
    found = wait_for_workers(0)
    assert counts(found) == (0, 1, 0, 0)
    assert str(found.waiting[0]) == f"{name!r} (session {worker.session})"


@pytest.mark.parametrize("name", ["", "fs1", "fs10 1 00000000 L 1 web", "flagstaff 17", "psql"])
def test_other_sessions_are_none_of_ours(name: str, join: Join) -> None:
    join().set_name(name)
    assert counts(wait_for_workers(0)) == (0, 0, 0, 0)


def test_worker_of_another_database_is_none_of_ours(join: Join) -> None:
    join(database="postgres")
    assert wait_for_workers(0).connected == 0


def test_name_is_read_as_it_is_written() -> None:
    worker = parse("fs1 62518 0a1b2c3d L 4711 ~t.example web 1", 99)
    assert (worker.token, worker.nonce, worker.mode) == (62518, "0a1b2c3d", "live")
    assert (worker.host, worker.pid, worker.session) == ("~t.example web 1", 4711, 99)


# Who is who.


def test_two_containers_that_look_the_same_both_have_to_apply_it(join: Join, then: Then) -> None:
    one, other = join("web", 1), join("web", 1)
    then(one.load)
    assert counts(wait_for_workers()) == (1, 1, 0, 0)
    then(one.load, other.load)
    assert counts(wait_for_workers()) == (2, 0, 0, 0)


def test_one_of_two_that_look_the_same_is_missed(join: Join, then: Then) -> None:
    one, other = join("web", 1), join("web", 1)
    then(one.load, other.leave)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (1, 0, 1, 0))


def test_worker_that_goes_is_missed(join: Join, then: Then) -> None:
    one, other = join("web-1"), join("web-2", 9)
    then(one.load, other.leave)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (1, 0, 1, 0))
    assert str(found.vanished[0]) == "web-2 (pid 9)"


def test_worker_that_goes_once_it_has_applied_it_counts(join: Join, then: Then) -> None:
    one, other = join("web-1"), join("web-2")
    then(one.load, one.leave, other.load)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (True, (2, 0, 0, 0))


def test_worker_that_reconnects_has_to_load_on_its_new_link(join: Join, then: Then) -> None:
    worker = join("web-1", 5)

    def reconnect() -> None:
        worker.leave()
        join("web-1", 5, "S").show(*worker.token)

    then(reconnect)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (0, 1, 0, 0))


def test_worker_that_is_connected_twice_has_to_show_it_twice(join: Join, then: Then) -> None:
    # Its first link is dead, and the server has not noticed; or these are two workers.
    join("web-1", 5)
    then(join("web-1", 5).load)
    assert counts(wait_for_workers()) == (1, 1, 0, 0)


def test_worker_that_comes_back_in_time_has_not_vanished(join: Join, then: Then) -> None:
    worker = join("web-1", 5)
    then(worker.leave, lambda: None, lambda: join("web-1", 5).load())
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (True, (1, 0, 0, 0))


def test_worker_back_beside_one_that_looks_the_same_is_not_the_other(
    join: Join, then: Then
) -> None:
    one, other = join("web", 1), join("web", 1)
    then(one.load, one.leave, other.leave, lambda: join("web", 1).load())
    found = wait_for_workers()
    # One of the two is back; that it is the one that had not applied it, nobody can know.
    assert (found.confirmed, counts(found)) == (False, (1, 0, 1, 0))


def test_worker_of_the_last_minutes_that_has_gone_is_missed(
    join: Join, then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = join("web-1"), join("web-2")
    then(one.load, other.load)
    assert wait_for_workers().confirmed is True
    other.leave()
    then(one.load)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (False, (1, 0, 1, 0))
    assert found.seconds < 0.1
    monkeypatch.setattr(tracker, "_MEMORY", 0.0)
    then(one.load)
    assert wait_for_workers().confirmed is True


# Who polls, who is expected, who cannot be seen.


@pytest.mark.parametrize(("mode", "bound"), [("P", 5.5 + 17), ("R", 60 + 5.5 + 17)])
def test_worker_that_polls_is_given_a_time_and_not_counted(
    mode: str, bound: float, join: Join, then: Then
) -> None:
    worker = join("web-1", mode=mode)
    then(worker.load)
    asked = datetime.now(timezone.utc)
    found = wait_for_workers()
    assert (found.confirmed, found.applied, len(found.polling)) == (False, 0, 1)
    assert found.polling_by is not None
    assert (
        timedelta(0) <= found.polling_by - asked - timedelta(seconds=bound) < timedelta(seconds=1)
    )


def test_deadlines_are_those_of_the_engine() -> None:
    source = (ROOT / "src" / "postgres" / "refresh" / "deadline.rs").read_text()
    deadlines = dict(re.findall(r"const (\w+): Duration = Duration::from_secs\((\d+)\)", source))
    named = {"STATEMENT": wait._POLL, "LOAD": wait._LOAD}
    assert named == {name: float(deadlines[name]) for name in named}


def test_pooler_hides_workers(join: Join, then: Then) -> None:
    worker, pooled = join(), join()
    pooled.set_name("flagstaff")
    then(worker.load)
    found = wait_for_workers()
    assert (found.confirmed, found.hidden, counts(found)) == (False, True, (1, 0, 0, 0))
    assert found.seconds < 1.1


def test_worker_that_has_just_connected_is_waited_for(join: Join, then: Then) -> None:
    worker, new = join("web-1"), join("web-2")
    new.set_name("flagstaff")
    then(worker.load, lambda: new.show(mode="S"), lambda: new.show(mode="L"), new.load)
    found = wait_for_workers()
    assert (found.confirmed, counts(found)) == (True, (2, 0, 0, 0))


@pytest.mark.parametrize("statement", ["DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER {name}"])
def test_worker_that_cannot_have_heard_of_a_change_is_given_a_time(
    statement: str, join: Join, then: Then
) -> None:
    # The barrier reaches it. The change has left no token, so it does not load the table.
    names = "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'flagstaff%token%' AND tgrelid = "
    [name] = sql(f"{names} 'flagstaff_keyvaluestore'::regclass")
    sql(f"ALTER TABLE flagstaff_keyvaluestore {statement.format(name=name)}")
    try:
        then(join().load)
        found = wait_for_workers()
        assert (found.confirmed, found.applied, len(found.polling)) == (False, 0, 1)
    finally:
        sql("ALTER TABLE flagstaff_keyvaluestore ENABLE TRIGGER ALL")
        sql(f"ALTER TABLE flagstaff_keyvaluestore ENABLE ALWAYS TRIGGER {name}")


def test_connection_that_leads_through_a_pooler_hides_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flagstaff._workers.barrier._is_pooled", lambda connection, session: True)
    assert wait_for_workers(0, expect=0).hidden is True


def test_engine_elsewhere_hides_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_address", lambda connection: (object(),))
    assert wait_for_workers(0, expect=0).hidden is True


def test_nobody_is_no_confirmation_unless_nobody_is_expected() -> None:
    assert (wait_for_workers().confirmed, wait_for_workers().connected) == (False, 0)
    assert wait_for_workers(expect=0).confirmed is True


def test_expected_workers_are_waited_for(join: Join, then: Then) -> None:
    one = join("web-1")
    then(one.load, lambda: join("web-2").load())
    found = wait_for_workers(expect=2)
    assert (found.confirmed, counts(found)) == (True, (2, 0, 0, 0))
    then(one.load)
    found = wait_for_workers(expect=4)
    assert (found.confirmed, counts(found)) == (False, (1, 1, 0, 2))


def test_more_workers_than_expected_are_waited_for_too(join: Join, then: Then) -> None:
    then(join("web-1").load, join("web-2").load)
    found = wait_for_workers(expect=1)
    assert (found.confirmed, counts(found)) == (True, (2, 0, 0, 0))


# When, and by whom, it may be asked.


def test_open_transaction_is_refused_before_anything_is_drawn() -> None:
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


def test_commit_may_call_it(join: Join, then: Then) -> None:
    then(join().load)
    found = []
    with transaction.atomic():
        FeatureFlag.objects.create(key="new_checkout")
        transaction.on_commit(lambda: found.append(wait_for_workers()))
    assert [one.confirmed for one in found] == [True]


@pytest.fixture
def web() -> Iterator[str]:
    """A role that may write flags, and owns nothing."""
    sql("CREATE ROLE web; GRANT SELECT, UPDATE ON flagstaff_featureflag TO web; SET ROLE web")
    yield "web"
    sql("RESET ROLE; DROP OWNED BY web; DROP ROLE web")


def test_role_without_the_right_is_told_what_grants_it(web: str, join: Join, then: Then) -> None:
    with pytest.raises(PropagationError) as refused:
        wait_for_workers()
    said, _, grants = str(refused.value).partition(" run: ")
    assert said == "the role web may not wait for workers; as the owner of the tables"
    [page] = code_of("how-to/confirm.md", "sql")
    assert grants.replace("public.", "").split() == page.replace('"', "").split()
    sql(f"RESET ROLE; {grants} SET ROLE web")
    then(join().load)
    # It sees the names of all sessions, though they are of another role.
    assert counts(wait_for_workers()) == (1, 0, 0, 0)


def test_tables_of_another_schema_are_found(join: Join, then: Then) -> None:
    schema = '"my \'shop"'
    sql(f"CREATE SCHEMA {schema}")
    sql(f"SET search_path = {schema}, public")
    sql(fill(template("tokens_v1"), {"schema": schema, "token_table": f"{schema}.flagstaff_token"}))
    try:
        then(join(options=f"-c search_path={schema.replace(' ', chr(92) + ' ')}").load)
        assert wait_for_workers().confirmed is True
    finally:
        sql("RESET search_path")
        sql(f"DROP SCHEMA {schema} CASCADE")


def test_missing_tables_and_functions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sql("ALTER FUNCTION flagstaff_barrier_v1() RENAME TO hidden")
    try:
        with pytest.raises(PropagationError, match=r"there is no function .*manage\.py migrate"):
            wait_for_workers()
    finally:
        sql("ALTER FUNCTION hidden() RENAME TO flagstaff_barrier_v1")
    sql("SET search_path = pg_catalog")
    try:
        with pytest.raises(PropagationError, match=r"no table of tokens .*manage\.py migrate"):
            wait_for_workers()
    finally:
        sql("RESET search_path")


# What a restore and a failure do.


def test_sequence_that_is_behind_its_rows_is_told_with_what_mends_it(join: Join) -> None:
    worker = join()
    draw()
    worker.load()
    sql("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
    with pytest.raises(PropagationError, match="is behind its rows") as refused:
        wait_for_workers()
    sql(str(refused.value).partition(" run: ")[2])
    assert counts(wait_for_workers(0)) == (0, 1, 0, 0)


def test_restore_during_the_wait_ends_it(join: Join, then: Then) -> None:
    join()
    then(lambda: sql("DELETE FROM flagstaff_token"))
    with pytest.raises(PropagationError, match="the token of this wait is gone"):
        wait_for_workers()


def test_lost_connection_is_told_with_its_cause(join: Join, then: Then) -> None:
    worker = join()
    pid = sql("SELECT pg_backend_pid()")[0]
    then(lambda: worker.query("SELECT pg_terminate_backend(%s)", pid))
    with pytest.raises(PropagationError, match="the workers cannot be asked: "):
        wait_for_workers()
    connection.close()


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_time_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout is a number of seconds, not "):
        wait_for_workers(timeout)


def test_document_can_be_json(join: Join) -> None:
    join("web-1", 7).load()
    told = json.loads(json.dumps(wait_for_workers(0).as_dict()))
    assert set(told) == {
        *("confirmed", "applied", "waiting", "polling", "vanished", "missing", "hidden"),
        *("seconds", "polling_by"),
    }
    assert (told["waiting"][0]["host"], told["waiting"][0]["pid"]) == ("web-1", 7)


# Where nothing is kept in memory.


def test_in_tests_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_called_for", lambda: True)
    found = wait_for_workers(expect=7)
    assert (found.confirmed, found.connected, found.polling_by) == (True, 0, None)


@pytest.mark.django_db
class TestInATransactionOfTheTest:
    def test_commit_is_taken_for_granted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "is_called_for", lambda: True)
        assert wait_for_workers().confirmed is True
