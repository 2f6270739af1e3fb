"""One connection per process, with threads, children and every kind of exit."""

import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import OpenToAll, Query
from tests.support.orphans import replace_descriptors, still_open
from tests.support.sessions import Sessions, only_session, within
from tests.support.workers import Worker, killed_worker
from tools.limits import SERVER, seconds
from tools.postgres import Postgres

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]
# Seconds in which a child sees what its parent or the server does.
LIMIT = 30.0
# The thread with the error gets them. Blocked, they would end the process without a report.
OF_ERRORS: set[int] = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
# The C library reserves them.
RESERVED = {32, 33}


def test_process_without_evaluations_does_not_connect(database: str, sessions: Sessions) -> None:
    with Worker(database) as worker:
        status = worker.ask("status")
        assert (status["mode"], status["ready"], status["age"]) == ("idle", False, None)
        assert sessions() == []


def test_process_has_one_connection(worker: Worker, sessions: Sessions) -> None:
    worker.ask("refresh")
    worker.ask("in_threads", 8, NEW_CHECKOUT)
    name = rf"flagstaff \d+ {worker.pid} .+"
    assert re.fullmatch(name, only_session(sessions).name)


def test_threads_of_the_engine_block_all_signals_but_those_of_errors(database: str) -> None:
    with Worker(database).loaded() as worker:
        # A thread sets its name after it has started.
        names = {"flagstaff", "flagstaff-usage"}
        assert within(5, lambda: names <= engine_threads(worker.pid).keys())
        masks = {
            name: {number + 1 for number in range(64) if int(mask, 16) >> number & 1}
            for name, mask in engine_threads(worker.pid).items()
        }
    expected = signal.valid_signals() - OF_ERRORS - {signal.SIGKILL, signal.SIGSTOP}
    assert [name for name, mask in masks.items() if not expected <= mask | RESERVED] == []
    assert [name for name, mask in masks.items() if mask & OF_ERRORS] == []


def engine_threads(pid: int) -> dict[str, str]:
    """The hexadecimal masks of blocked signals, by the name of the thread."""
    threads = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            threads[fields["Name"]] = fields["SigBlk"]
    return {name: mask for name, mask in threads.items() if name.startswith("flagstaff")}


@pytest.mark.parametrize(
    ("how", "status"),
    [("sys.exit", 3), ("os._exit", 3), ("uncaught", 1), ("kill", -9), ("end of input", 0)],
)
def test_ended_process_leaves_no_session(
    how: str, status: int, database: str, sessions: Sessions
) -> None:
    worker = Worker(database).loaded()
    if how != "end of input":
        worker.send("exit", how)
    exit_status, errors = worker.end()
    assert exit_status == status
    assert "Fatal" not in errors
    assert status != 0 or errors == ""
    assert within(2, lambda: sessions() == [])


def test_forked_child_evaluates_from_the_inherited_snapshot(
    server: Postgres, database: str
) -> None:
    with Worker(database, STARTUP_TIMEOUT=60) as worker:
        assert worker.ask("get_value", "gateway") == "stripe"
        server.stop()
        started = time.monotonic()
        assert worker.ask("in_fork", "os._exit", [["get_value", "gateway"]]) == ["stripe"]
        assert time.monotonic() - started < 30


def test_forked_child_with_an_old_snapshot_waits_for_its_own_load(
    database: str, open_to_all: OpenToAll, tmp_path: Path
) -> None:
    forked, changed = str(tmp_path / "forked"), str(tmp_path / "changed")
    closed: list[Any] = ["flag_enabled", "new_checkout", 2]
    with Worker(database, POLL_INTERVAL=0.1) as worker:
        assert worker.ask(*closed) is False
        commands = [
            ["call", "os.mkdir", forked],
            ["until", ["call", "os.path.exists", changed], True, LIMIT],
            ["until", ["fresh", 0.1], False, LIMIT],
            closed,
        ]
        worker.send("in_fork", "os._exit", commands)
        assert within(5, Path(forked).exists)
        open_to_all()
        Path(changed).mkdir()
        assert worker.receive()[-1] is True


def test_forked_child_with_an_old_snapshot_and_no_server_uses_it_after_the_startup_timeout(
    server: Postgres, database: str
) -> None:
    with Worker(database, POLL_INTERVAL=0.1, STARTUP_TIMEOUT=2) as worker:
        assert worker.ask("get_value", "gateway") == "stripe"
        server.stop()
        worker.sees(["fresh", 0.1], False, within=2)
        gateway = ["until", ["get_value", "gateway"], "stripe", LIMIT]
        [first, second] = worker.ask("in_fork", "os._exit", [gateway, gateway])
        assert 2 <= first < LIMIT
        assert second < seconds(2)


@pytest.mark.parametrize("how", ["sys.exit", "os._exit", "kill"])
def test_forked_child_has_its_own_engine_beside_its_parents(
    how: str, worker: Worker, query: Query, sessions: Sessions
) -> None:
    parent = only_session(sessions)
    until_paypal = ["until", ["get_value", "gateway"], "paypal", LIMIT]
    # The thread of the engine says so a moment after its first snapshot.
    until_live = ["until", ["mode"], "live", LIMIT]
    worker.send("in_fork", how, [["get_value", "gateway"], until_paypal, until_live])
    assert within(3, lambda: len(sessions()) == 2)
    query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
    before, paypal, live = worker.receive()
    assert (before, None in (paypal, live)) == ("stripe", False)
    assert within(2, lambda: sessions() == [parent])
    worker.sees(["get_value", "gateway"], "paypal", within=1)
    assert worker.ask("status")["failures"] == 0


def test_child_of_a_fork_outside_python_starts_its_own_engine(
    worker: Worker, sessions: Sessions
) -> None:
    parent = only_session(sessions)
    commands = [["survey", "new_checkout", 2_000], ["until", ["mode"], "live", LIMIT]]
    survey, took = worker.ask("in_fork", "os._exit", commands, True)
    assert (survey, took is not None) == (worker.ask("survey", "new_checkout", 2_000), True)
    assert within(2, lambda: sessions() == [parent])


@pytest.mark.parametrize("bare", [False, True], ids=["by Python", "outside Python"])
def test_session_of_a_killed_parent_ends_while_its_child_evaluates(
    bare: bool, database: str, sessions: Sessions
) -> None:
    with killed_worker(database) as worker:
        expected = worker.ask("survey", "new_checkout", 2_000)
        child = worker.ask("continue_in_fork", bare)
        assert worker.ask("survey", "new_checkout", 2_000) == expected
        assert within(2, lambda: worker.pid not in [session.owner for session in sessions()])
        worker.sees(["mode"], "live", within=5)
        assert [session.owner for session in sessions()] == [child]


@pytest.mark.parametrize("bare", [False, True], ids=["by Python", "outside Python"])
def test_connection_attempt_of_a_killed_parent_ends_while_its_child_lives(bare: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with killed_worker(f"postgres://{host}:{port}/flags", STARTUP_TIMEOUT=0) as worker:
            # Unlike an evaluation, "ready" leaves the process waiting for its first load.
            first = ["ready", 0] if bare else ["flag_enabled", "new_checkout"]
            assert worker.ask(*first) is False
            attempt, _ = silent.accept()
            with attempt:
                attempt.settimeout(seconds(SERVER))
                # The worker knows the socket before it sends the first byte over it.
                assert attempt.recv(1)
                child = worker.ask("continue_in_fork", bare)
                if bare:
                    # Python has run no hook, so the first call ends the attempt.
                    assert worker.ask("flag_enabled", "new_checkout") is False
                while attempt.recv(1024):
                    pass
            assert worker.ask("pid") == child


def test_forked_child_that_has_closed_all_descriptors_keeps_its_own_files(database: str) -> None:
    with killed_worker(database) as worker:
        worker.loaded()
        # Outside Python, so that the child learns of the fork only after it has opened files.
        worker.ask("continue_in_fork", True)
        opened = worker.call(replace_descriptors)
        worker.ask("survey", "new_checkout", 2_000)
        assert worker.call(still_open, opened) == opened
