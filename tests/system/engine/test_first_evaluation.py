"""The first evaluation of a process, and how it can fail."""

from __future__ import annotations

import pytest

from tests.conftest import RunIsolated
from tools.postgres import Postgres

pytestmark = pytest.mark.usefixtures("migrated")

START = """
import os, signal, sys, threading, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
django.setup()
from flagstaff import _core, flag_enabled, explain, status
from flagstaff._engine import lifecycle
from contextlib import suppress
from pathlib import Path
def engines():
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):
            names.append((task / "comm").read_text().strip())
    return names.count("flagstaff")
"""


@pytest.fixture(scope="module")
def server(module_postgres_server: Postgres) -> Postgres:
    return module_postgres_server


@pytest.fixture
def migrated(server: Postgres, run_isolated: RunIsolated) -> str:
    script = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from flagstaff.models import FeatureFlag
FeatureFlag.objects.update_or_create(key="on", enabled=True, rollout_percent=100)
"""
    run_isolated(START + script, DATABASE_URL=server.url)
    return server.url


def test_interrupted_wait_leaves_one_engine(server: Postgres, run_isolated: RunIsolated) -> None:
    script = """
def interrupted(seconds):
    raise KeyboardInterrupt
sleep, time.sleep = time.sleep, interrupted
for _ in range(4):
    try:
        flag_enabled("on")
    except KeyboardInterrupt:
        pass
time.sleep = sleep
print(flag_enabled("on"), engines())
"""
    assert run_isolated(START + script, DATABASE_URL=server.url).split() == ["True", "1"]


def test_evaluation_in_a_signal_handler_during_the_wait_returns_a_result(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    script = """
results = []
sleep = time.sleep
def sleep_with_signal(seconds):
    time.sleep = sleep
    signal.raise_signal(signal.SIGUSR1)
signal.signal(signal.SIGUSR1, lambda *_: results.append(flag_enabled("on")))
time.sleep = sleep_with_signal
print(flag_enabled("on"), results, engines())
"""
    assert run_isolated(START + script, DATABASE_URL=server.url) == "True [True] 1\n"


def test_evaluation_in_a_router_returns_the_default(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    script = """
from django.db import router
from types import SimpleNamespace
results = []
def db_for_write(model, **hints):
    results.append(flag_enabled("on"))
    return "default"
router.routers = [SimpleNamespace(db_for_write=db_for_write)]
print(flag_enabled("on"), results[0])
"""
    assert run_isolated(START + script, DATABASE_URL=server.url) == "True False\n"


def test_first_evaluations_in_many_threads_start_one_engine(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    script = """
barrier, results = threading.Barrier(8), []
def evaluate():
    barrier.wait()
    results.append(flag_enabled("on"))
threads = [threading.Thread(target=evaluate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(results), len(results), engines(), _core.start(in_memory=True), engines())
"""
    printed = run_isolated(START + script, DATABASE_URL=server.url)
    assert printed == "True 8 1 True 1\n"


def test_first_evaluation_reads_the_options_once(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    script = """
calls = []
def counted(name):
    function = getattr(lifecycle, name)
    def call(*arguments):
        calls.append(name)
        return function(*arguments)
    setattr(lifecycle, name, call)
for name in lifecycle.__all__:
    if name.islower():
        counted(name)
# The maintenance follows an event, such as the first load.
print(flag_enabled("on"), flag_enabled("on"), [name for name in calls if name != "run_maintenance"])
"""
    printed = run_isolated(START + script, DATABASE_URL=server.url)
    assert printed == "True True ['read_options']\n"


def test_evaluation_at_process_exit_uses_the_last_snapshot(
    server: Postgres, run_isolated: RunIsolated
) -> None:
    script = """
import atexit
class Late:
    def __del__(self, evaluate=flag_enabled, out=os.write):
        out(1, str(evaluate("on")).encode())
atexit.unregister(_core.shutdown)
atexit.register(lambda: print(flag_enabled("on"), flush=True))
atexit.register(_core.shutdown, 1.0)
flag_enabled("on")
sys.late = Late()
"""
    assert run_isolated(START + script, DATABASE_URL=server.url) == "True\nTrue"


def test_second_interpreter_is_refused(run_isolated: RunIsolated) -> None:
    script = """
from flagstaff.exceptions import ConfigurationError
try:
    _core.claim_interpreter(id(sys.modules) + 8)
except ConfigurationError as error:
    print(error)
_core.claim_interpreter(id(sys.modules))
"""
    expected = (
        "flagstaff supports one interpreter per process, and this is another one; give each "
        "application its own process, as with WSGIApplicationGroup %{GLOBAL} in mod_wsgi\n"
    )
    assert run_isolated(START + script) == expected


def test_lazy_object_that_wraps_itself_raises(server: Postgres, run_isolated: RunIsolated) -> None:
    script = """
from django.utils.functional import SimpleLazyObject
endless = SimpleLazyObject(lambda: endless)
try:
    explain("on", endless)
except RecursionError as error:
    print(error)
"""
    expected = "user is a lazy object that wraps lazy objects without an end\n"
    assert run_isolated(START + script, DATABASE_URL=server.url) == expected
