"""`manage.py flags` as a process: terminals, pipes, signals and exit statuses."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import ROOT
from tests.support.fixtures import Query
from tests.support.projects import Project
from tests.support.python_processes import environment
from tests.support.workers import Worker
from tools.limits import CHILD, SERVER, seconds
from tools.ports import LOOPBACK, free_port

COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "django", "flags"]
ESCAPE = "\x1b["


def surroundings(database: str, **variables: str) -> dict[str, str]:
    """The environment variables of a terminal."""
    terminal = {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | variables
    inherited = environment(database, **terminal)
    return {name: value for name, value in inherited.items() if name != "COLUMNS"}


def piped(
    database: str, *arguments: str, stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command with pipes, or with this standard output."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=surroundings(database, **variables),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=seconds(CHILD),
        check=False,
    )


def on_terminal(database: str, *arguments: str, width: int = 80, no_color: str = "") -> str:
    """Returns what a terminal of this width shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=surroundings(database, NO_COLOR=no_color),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    # Linux reports the end by an error.
    with suppress(OSError):
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)
    assert process.wait(seconds(SERVER)) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_terminal_shows_a_table_in_colours_that_fits(database: str, query: Query) -> None:
    header, flag = on_terminal(database, "list").splitlines()
    assert header.startswith(f"{ESCAPE}1mKEY ")
    assert f"{ESCAPE}33;1mrollout 33 %{ESCAPE}0m" in flag
    query("UPDATE flagstaff_featureflag SET description = repeat('words ', 50)")
    _, flag = on_terminal(database, "list", "--no-color", width=100).splitlines()
    assert (len(flag), flag[-1], ESCAPE in flag) == (100, "…", False)


@pytest.mark.parametrize(("line", "no_color"), [("list", "1"), ("--no-color list", "")])
def test_terminal_shows_no_colours_with_no_color(line: str, no_color: str, database: str) -> None:
    shown = on_terminal(database, *line.split(), no_color=no_color)
    assert shown.startswith("KEY ")
    assert ESCAPE not in shown


def test_pipe_receives_tabs_and_json_is_the_same_on_a_terminal(database: str) -> None:
    ran = piped(database, "list", DJANGO_COLORS="dark")
    assert (ran.returncode, ran.stderr) == (0, "")
    _header, row = ran.stdout.splitlines()
    assert row.startswith("new_checkout\trollout\t33\t0\trelease\t2")
    shown = on_terminal(database, "list", "--json")
    assert json.loads(shown) == json.loads(piped(database, "list", "--json").stdout)


def test_output_is_utf_8_whatever_the_locale_is(database: str, query: Query) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = '\"Grüße\"'")
    ran = piped(database, "value", "list", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Grüße" in ran.stdout


def test_closed_pipe_is_no_error(database: str, query: Query) -> None:
    query(
        "INSERT INTO flagstaff_featureflag (key) SELECT 'flag_' || n FROM generate_series(1, 9) n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    ran = piped(database, "list", stdout=writing)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_interrupted_change_writes_nothing_and_exits_quietly(database: str, query: Query) -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(database) as other:
        other.execute("SELECT * FROM flagstaff_featureflag FOR UPDATE")
        process = subprocess.Popen(
            [*COMMAND, "off", "new_checkout"],
            cwd=ROOT,
            env=surroundings(database),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while query(waits) == (0,):
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=seconds(SERVER))
    assert (process.returncode, out, err) == (130, "", "")
    assert query("SELECT enabled FROM flagstaff_featureflag") == (True,)


@pytest.mark.parametrize("arguments", [[], ["value", "set"]])
def test_help_shows_examples_without_a_database(arguments: list[str]) -> None:
    ran = piped("postgres://nowhere", *arguments, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "manage.py flags " in ran.stdout


def test_unreachable_server_is_an_error_in_one_line() -> None:
    ran = piped(f"postgres://{LOOPBACK}:{free_port()}/flags", "off", "new_checkout")
    assert (ran.returncode, ran.stdout) == (1, "")
    # Without a traceback.
    assert ran.stderr.startswith("CommandError: connection failed")
    assert ran.stderr.count("\n") == 1


def test_status_loads_the_flags_and_lists_rows_that_cannot_be_evaluated(
    database: str, query: Query
) -> None:
    ran = piped(database, "status", "--json")
    status = json.loads(ran.stdout)
    assert (ran.returncode, status["mode"], status["ready"]) == (0, "live", True)
    assert (status["flags"], status["values"], status["problems"]) == (1, 1, [])
    query("ALTER TABLE flagstaff_featureflag ALTER enabled DROP NOT NULL")
    query("UPDATE flagstaff_featureflag SET enabled = NULL")
    status = json.loads(piped(database, "status", "--json").stdout)
    assert status["flags"] == 0
    [problem] = status["problems"]
    assert 'flag "new_checkout" is set aside' in problem


def test_status_fails_without_tables(empty_database: str) -> None:
    ran = piped(empty_database, "status")
    assert ran.returncode == 1
    assert ran.stdout.startswith("mode\tdown\n")
    assert "\nready\tfalse\n" in ran.stdout
    assert ran.stderr.splitlines()[-1] == (
        "CommandError: the flags could not be loaded: "
        'load: a table or column is missing, run "manage.py migrate" (SQLSTATE 42P01)'
    )


def test_wait_reports_the_worker_that_applied_the_change(database: str, worker: Worker) -> None:
    ran = piped(database, "off", "new_checkout", "--wait", "30")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert re.match(r"Applied by 1 of 1 worker after \d+\.", ran.stderr.splitlines()[-1])
    assert worker.ask("flag_enabled", "new_checkout", 3) is False


def test_flag_can_be_disabled_while_a_system_check_fails_and_django_options_may_follow(
    database: str, query: Query, tmp_path: Path
) -> None:
    apps = ["django.contrib.staticfiles", "flagstaff"]
    project = Project(tmp_path, database, apps=apps, settings="STATICFILES_DIRS = 5")
    assert "STATICFILES_DIRS" in project.manage("check", status=1)
    options = ["--settings=settings", "--traceback", "-v", "0"]
    project.manage("flags", "off", "new_checkout", *options, DJANGO_SETTINGS_MODULE="")
    assert query("SELECT enabled FROM flagstaff_featureflag") == (False,)


EVERY_VERB = """
import django, json, sys

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.terminals import flags

call_command("migrate", run_syncdb=True, verbosity=0)
alice = get_user_model().objects.create(pk=sys.argv[1], username="alice")
FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
KeyValueStore.objects.create(key="gateway", value="stripe")

for line in json.load(sys.stdin):
    print(flags(*line, "--json").out.replace("\\n", ""))
"""
USERS = {"bigint": "42", "uuid": "6f2b1c1e-0d3a-4c39-9f0e-3f1f1c7f0001", "text": "a b"}


#: Lines, each with a part of its document.
ON_ANY_DATABASE: dict[str, dict[str, Any]] = {
    "explain new_checkout alice": {"reason": "TARGETING_MATCH"},
    "explain new_checkout {pk}": {"reason": "TARGETING_MATCH"},
    "rollout new_checkout 100": {"changed": True},
    "off new_checkout --wait": {"changed": True},
    "show new_checkout": {"summary": "Off for all users."},
    "on new_checkout": {"changed": True},
    "list --state all": {"key": "new_checkout"},
    "value set gateway [1]": {"changed": True},
    "value show gateway": {"value": [1]},
    "value list": {"value": [1]},
    "status": {"mode": "direct", "flags": 1},
}


@pytest.mark.parametrize(("users", "pk"), USERS.items(), ids=USERS)
def test_verbs_work_on_sqlite_with_any_user_model(users: str, pk: str, tmp_path: Path) -> None:
    settings = f"from tests.support.apps.settings_{users} import AUTH_USER_MODEL, INSTALLED_APPS"
    project = Project(tmp_path, None, settings=settings)
    lines = [[word.format(pk=pk) for word in line.split()] for line in ON_ANY_DATABASE]
    printed = project.python("-c", EVERY_VERB, pk, text=json.dumps(lines)).splitlines()
    for shown, (line, part) in zip(printed, ON_ANY_DATABASE.items(), strict=True):
        documents = json.loads(shown)
        [document] = documents if isinstance(documents, list) else [documents]
        assert part.items() <= document.items(), line
