"""Commands of Django: the development server with its reloader, the shell, and commands."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.app_servers import SETTINGS, AppServer
from tests.support.fixtures import Query
from tests.support.python_processes import STRICT, run_python
from tests.support.sessions import Sessions, within
from tools.limits import seconds

DJANGO = ("-m", "django")
EVALUATE = "from flagstaff import get_value, status; print(get_value('gateway'), status().mode)"


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A module of the project that tests change."""
    path = tmp_path / "watched_by_the_reloader.py"
    path.write_text("")
    return path


def runserver(database: str, watched: Path, *options: str) -> AppServer:
    command = [sys.executable, *DJANGO, "runserver", *options, "127.0.0.1:{port}"]
    return AppServer(*command, database=database, EXTRA_FOLDER=str(watched.parent))


def manage(database: str, *arguments: str, text: str = "") -> str:
    """Returns the output of a command, which must write no error."""
    command = [*STRICT, *DJANGO, *arguments]
    ran = run_python(database, *command, text=text, DJANGO_SETTINGS_MODULE=SETTINGS)
    assert ran.stderr == ""
    return ran.stdout


def test_reloaded_development_server_keeps_one_connection(
    database: str, query: Query, sessions: Sessions, watched: Path
) -> None:
    with runserver(database, watched) as server:
        server.wait()
        for number in range(3):
            server.wait_for_log("watched_by_the_reloader.* first seen", times=number + 1)
            [pid] = server.get_from_each(1)
            assert within(2, lambda: [s.owner for s in sessions()] == [pid]), sessions()  # noqa: B023
            watched.write_text(f"# {number}")
            # Within one second the modification time would not change.
            os.utime(watched, (time.time(), time.time() + number + 1))
            assert within(10, lambda: server.get_or_empty().get("pid", pid) != pid), server.log()  # noqa: B023
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.all_have_value(1, "paypal")
        started = time.monotonic()
        assert server.end(signal.SIGINT, to_all=True) == 0
        assert time.monotonic() - started < seconds(5)
    assert within(2, lambda: sessions() == [])
    assert "Fatal" not in server.log()
    assert "FATAL" not in server.log()
    assert "flags are" not in server.log()


@pytest.mark.parametrize("options", [[], ["--noreload"]], ids=["reloader", "noreload"])
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_development_server_exits_at_once_and_leaves_no_session(
    by: signal.Signals, options: list[str], database: str, sessions: Sessions, watched: Path
) -> None:
    with runserver(database, watched, *options) as server:
        server.wait()
        started = time.monotonic()
        status = server.end(by, to_all=True)
        assert time.monotonic() - started < seconds(5)
    # Django handles SIGTERM only with the reloader.
    assert status == (-by if options and by is signal.SIGTERM else 0)
    assert within(2, lambda: sessions() == [])
    assert "FATAL" not in server.log()


def test_shell_evaluates_and_exits(database: str, sessions: Sessions) -> None:
    for arguments, text in ((["-c", EVALUATE], ""), ([], EVALUATE)):
        # Django prints its automatic imports before.
        assert manage(database, "shell", *arguments, text=text).endswith("stripe live\n")
        assert within(2, lambda: sessions() == [])


@pytest.mark.parametrize(
    "command", [["check"], ["migrate", "--plan"], ["flags", "list"]], ids=" ".join
)
def test_command_without_evaluations_leaves_no_session(
    command: list[str], database: str, sessions: Sessions
) -> None:
    manage(database, *command)
    assert within(2, lambda: sessions() == [])
