"""gunicorn, uWSGI and uvicorn, with the kinds of workers that Django projects use.

uWSGI by default forks without calling Python's fork hooks.
"""

import os
import signal
import time

import pytest

from tests.faults.app_servers import (
    GUNICORN,
    UVICORN,
    UWSGI,
    UWSGI_WITHOUT_THREADS,
    WORKERS,
    AppServer,
    served,
)
from tests.support.fixtures import Query
from tests.support.sessions import Sessions, within
from tools.limits import seconds

# Seconds for which an event loop may be blocked; less than a wait for the first load.
MAX_GAP = 5.0
SYNC = ["gunicorn", *GUNICORN]
GTHREAD = [*SYNC, "--worker-class=gthread", "--threads=8"]
GEVENT = [*SYNC, "--worker-class=gevent"]
# The application evaluates a value when it is imported, which may be before the fork.
EARLY = {
    "gunicorn": [*SYNC, "--preload"],
    "gunicorn with threads": [*GTHREAD, "--preload"],
    "gunicorn with gevent": [*GEVENT, "--preload"],
    "uwsgi": ["uwsgi", *UWSGI_WITHOUT_THREADS],
    "uwsgi with threads": ["uwsgi", *UWSGI, "--threads=4"],
    "uwsgi, osafterfork": ["uwsgi", *UWSGI, "--py-call-osafterfork"],
    "uwsgi, fork hooks": ["uwsgi", *UWSGI, "--py-call-uwsgi-fork-hooks"],
    "uwsgi, lazy": ["uwsgi", *UWSGI, "--lazy-apps"],
    "uwsgi, lazy and osafterfork": ["uwsgi", *UWSGI, "--lazy-apps", "--py-call-osafterfork"],
}
LATE = {
    "gunicorn": SYNC,
    "gunicorn with threads": GTHREAD,
    "gunicorn with gevent": GEVENT,
    "uwsgi": ["uwsgi", *UWSGI_WITHOUT_THREADS],
    "uwsgi with threads": ["uwsgi", *UWSGI, "--threads=4"],
    "uvicorn": ["uvicorn", *UVICORN],
}


def owners(sessions: Sessions) -> list[int]:
    return sorted(session.owner for session in sessions())


def preloaded(database: str, command: list[str] = SYNC) -> AppServer:
    return served([*command, "--preload"], database, EVALUATE_AT_IMPORT="1")


@pytest.mark.parametrize(
    ("command", "early"),
    [
        *((command, True) for command in EARLY.values()),
        *((command, False) for command in LATE.values()),
    ],
    ids=[*(f"{name}, evaluated at import" for name in EARLY), *LATE],
)
def test_workers_evaluate_at_once_and_see_changes_over_one_connection_each(
    command: list[str], early: bool, database: str, query: Query, sessions: Sessions
) -> None:
    with served(command, database, **({"EVALUATE_AT_IMPORT": "1"} if early else {})) as server:
        server.wait()
        first = server.get_from_each(WORKERS, "/loop" if command[0] == "uvicorn" else "/")
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        assert max(response.get("took", 0.0) for response in first.values()) < MAX_GAP
        # A parent that has evaluated before the fork keeps its own connection.
        parent = [server.pid] if early and "--lazy-apps" not in command else []
        assert within(2, lambda: owners(sessions) == sorted([*parent, *first])), sessions()
        before = sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.all_have_value(WORKERS, "paypal")
        assert sessions() == before
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


@pytest.mark.smoke
def test_killed_gunicorn_worker_is_replaced_and_leaves_no_session(
    database: str, sessions: Sessions
) -> None:
    with preloaded(database) as server:
        server.wait()
        [master] = [s for s in sessions() if s.owner == server.pid]
        victim = next(iter(server.get_from_each(WORKERS)))
        os.kill(victim, signal.SIGKILL)
        assert within(5, lambda: victim not in owners(sessions))
        others = server.get_from_each(WORKERS)
        assert victim not in others
        assert within(2, lambda: owners(sessions) == sorted([server.pid, *others]))
        assert master in sessions()
    assert within(2, lambda: sessions() == [])


def test_reloaded_gunicorn_workers_leave_no_session(database: str, sessions: Sessions) -> None:
    with served(SYNC, database) as server:
        server.wait()
        before = server.get_from_each(WORKERS)
        server.send(signal.SIGHUP)
        # A request can time out while no worker is ready.
        assert within(10, lambda: server.get_or_empty().get("pid", 0) not in {0, *before})
        assert within(10, lambda: not set(before) & set(owners(sessions)))
        after = server.get_from_each(WORKERS)
        assert within(2, lambda: owners(sessions) == sorted(after))
    assert within(2, lambda: sessions() == [])


@pytest.mark.parametrize(
    ("command", "by"),
    [
        (GTHREAD, signal.SIGTERM),
        (GTHREAD, signal.SIGINT),
        (GTHREAD, signal.SIGQUIT),
        (LATE["uvicorn"], signal.SIGTERM),
        (LATE["uvicorn"], signal.SIGINT),
    ],
)
def test_server_exits_at_once_during_changes(
    command: list[str], by: signal.Signals, database: str, query: Query, sessions: Sessions
) -> None:
    is_uvicorn = command[0] == "uvicorn"
    server = served(command, database) if is_uvicorn else preloaded(database, command)
    server.wait()
    server.get_from_each(WORKERS)
    for number in range(20):
        query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)", str(number))
    started = time.monotonic()
    # Of gunicorn, the master only: a gthread worker that gets the signal twice may deadlock in
    # gunicorn's own handler.
    assert server.end(by, to_all=is_uvicorn and by is signal.SIGINT) == 0
    # gunicorn's workers check for the stop once a second.
    assert time.monotonic() - started < seconds(1 + 5)
    assert within(2, lambda: sessions() == [])
    assert "Fatal" not in server.log()
    assert "Traceback" not in server.log()
