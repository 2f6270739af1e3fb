"""Lifecycle and events of the provider of OpenFeature: changes, outages, forks, shutdown.

The scenarios of OpenFeature's conformance suite for providers (its Appendix F) are among them.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import openfeature_events as events
from tests.support.fixtures import Query, SetGateway
from tests.support.python_processes import run_python
from tests.support.workers import Worker, calling, killed_worker
from tools.limits import seconds
from tools.postgres import Postgres

READY, STALE, ERROR = ([f"PROVIDER_{name}", None] for name in ("READY", "STALE", "ERROR"))
CHANGED = ["PROVIDER_CONFIGURATION_CHANGED", ["gateway"]]


def evaluated(worker: Worker, kind: str = "string", key: str = "gateway") -> list[Any]:
    default = "none" if kind == "string" else False
    return list(worker.call(events.evaluate, kind, key, default))


@pytest.fixture
def new_worker(database: str) -> Iterator[Worker]:
    """A worker that has evaluated nothing."""
    with Worker(database) as worker:
        yield worker


@pytest.fixture
def provided(new_worker: Worker) -> Worker:
    """A worker with a provider that is ready, and with handlers."""
    new_worker.call(events.set_provider)
    new_worker.call(events.add_handlers)
    return new_worker


def test_provider_is_ready_after_its_initialization(provided: Worker) -> None:
    provided.sees(calling(events.handled), [READY], within=2)
    assert provided.call(events.status) == "READY"
    assert evaluated(provided) == ["stripe", "STATIC", None]
    assert provided.call(events.emitted) == []


@pytest.mark.smoke
def test_change_is_reported_with_its_keys_and_applied(
    provided: Worker, set_gateway: SetGateway
) -> None:
    set_gateway("paypal")
    provided.sees(calling(events.emitted), [CHANGED], within=2)
    assert evaluated(provided) == ["paypal", "STATIC", None]
    provided.sees(calling(events.handled), [READY, CHANGED], within=2)


def test_load_that_changes_no_result_is_not_reported(provided: Worker, query: Query) -> None:
    provided.ask("refresh")
    query("UPDATE flagstaff_featureflag SET description = 'new'")
    query("UPDATE flagstaff_featureflag SET rollout_percent = 34")
    expected = ["PROVIDER_CONFIGURATION_CHANGED", ["new_checkout"]]
    provided.sees(calling(events.emitted), [expected], within=2)


def test_outage_makes_the_provider_stale_until_the_server_is_back(
    server: Postgres, provided: Worker, set_gateway: SetGateway
) -> None:
    server.stop()
    provided.sees(calling(events.status), "STALE", within=3)
    # It still evaluates.
    assert evaluated(provided) == ["stripe", "STATIC", None]
    server.start()
    set_gateway("paypal")
    provided.sees(calling(events.status), "READY", within=5)
    provided.sees(calling(events.emitted), [STALE, READY, CHANGED], within=3)
    assert evaluated(provided) == ["paypal", "STATIC", None]


def test_provider_without_a_server_is_in_error_within_ten_seconds(
    server: Postgres, new_worker: Worker
) -> None:
    server.stop()
    new_worker.call(events.add_handlers)
    started = time.monotonic()
    new_worker.call(events.set_provider_without_waiting)
    new_worker.sees(calling(events.status), "ERROR", within=10)
    assert time.monotonic() - started < seconds(10)
    new_worker.sees(calling(events.handled), [READY, ERROR], within=5)
    assert evaluated(new_worker, "boolean", "new_checkout") == [
        False,
        "ERROR",
        "PROVIDER_NOT_READY",
    ]
    server.start()
    new_worker.sees(calling(events.status), "READY", within=5)
    assert new_worker.call(events.emitted) == [READY]
    assert evaluated(new_worker) == ["stripe", "STATIC", None]


def test_initialization_that_fails_raises_for_callers_that_wait(
    server: Postgres, new_worker: Worker
) -> None:
    server.stop()
    with pytest.raises(AssertionError, match="ProviderNotReadyError"):
        new_worker.call(events.set_provider, 0.5)


def test_shutdown_ends_the_events_and_keeps_the_engine(
    provided: Worker, set_gateway: SetGateway
) -> None:
    provided.call(events.shut_down)
    provided.sees(calling(events.has_thread), False, within=5)
    set_gateway("paypal")
    provided.sees(["get_value", "gateway"], "paypal", within=2)
    assert provided.call(events.emitted) == []


def test_provider_can_be_initialized_again(provided: Worker, set_gateway: SetGateway) -> None:
    provided.call(events.shut_down)
    set_gateway("paypal")
    provided.sees(["get_value", "gateway"], "paypal", within=2)
    provided.call(events.initialize_again)
    assert evaluated(provided) == ["paypal", "STATIC", None]
    set_gateway("adyen")
    provided.sees(calling(events.emitted), [CHANGED], within=2)


def test_shutdown_without_a_server_is_prompt(server: Postgres, provided: Worker) -> None:
    server.stop()
    provided.sees(calling(events.status), "STALE", within=3)
    started = time.monotonic()
    provided.call(events.shut_down)
    assert time.monotonic() - started < seconds(5)


def test_evaluation_of_a_client_counts_as_usage(database: str, query: Query) -> None:
    with Worker(database) as worker:
        worker.call(events.set_provider)
        assert evaluated(worker, "boolean", "new_checkout") == [False, "DEFAULT", None]
        evaluated(worker, "boolean", "unknown")
    used = "SELECT result, count FROM flagstaff_usage WHERE key = %s"
    counts = [query(used, key) for key in ("new_checkout", "unknown")]
    assert counts == [("false", 1), ("unknown", 1)]


def test_process_without_a_provider_has_no_thread(worker: Worker) -> None:
    assert worker.call(events.has_thread) is False


def test_stopped_engine_that_starts_again_goes_on_reporting(
    provided: Worker, set_gateway: SetGateway
) -> None:
    provided.ask("call", "flagstaff.close")
    assert provided.call(events.has_thread) is True
    set_gateway("paypal")
    assert evaluated(provided) == ["paypal", "STATIC", None]
    provided.sees(calling(events.emitted), [CHANGED], within=2)


@pytest.mark.parametrize("bare", [False, True], ids=["fork", "fork without hooks"])
def test_forked_child_reports_changes_after_its_parent_is_gone(
    database: str, set_gateway: SetGateway, bare: bool
) -> None:
    with killed_worker(database) as worker:
        worker.call(events.set_provider)
        set_gateway("paypal")
        worker.sees(calling(events.emitted), [CHANGED], within=2)
        assert worker.ask("continue_in_fork", bare) != worker.pid
        # Evaluations notice a fork without hooks from time to time.
        worker.ask("survey", "new_checkout", 2_000)
        assert evaluated(worker) == ["paypal", "STATIC", None]
        set_gateway("adyen")
        worker.sees(calling(events.emitted), [CHANGED], within=3)


def test_child_that_is_forked_before_the_initialization_becomes_ready(database: str) -> None:
    with killed_worker(database) as worker:
        worker.call(events.attach)
        worker.ask("continue_in_fork")
        worker.sees(calling(events.emitted), [READY], within=3)


def test_parent_goes_on_reporting_beside_its_child(
    provided: Worker, set_gateway: SetGateway
) -> None:
    [of_child] = provided.ask("in_fork", "os._exit", [calling(events.status)])
    assert of_child == "READY"
    set_gateway("paypal")
    provided.sees(calling(events.emitted), [CHANGED], within=2)


FORK_DURING_A_CALL = """
import os, threading, time
import django
django.setup()
from flagstaff._engine import change_watch

of_listener, is_called = threading.Lock(), threading.Event()

class Listener:
    def changed(self, keys):
        with of_listener:
            is_called.set()
            time.sleep(0.2)

watch = change_watch.add(Listener())
call = lambda: watch._call(lambda: watch._listener.changed([]), "ready", None)
threading.Thread(target=call).start()
is_called.wait()
child = os.fork()
if child == 0:
    os._exit(0 if of_listener.acquire(timeout=0.1) else 1)
print(os.waitpid(child, 0)[1])
"""


def test_fork_waits_until_a_listener_has_released_its_locks(database: str) -> None:
    assert run_python(database, "-c", FORK_DURING_A_CALL).stdout == "0\n"


# Forks as uWSGI does, without the hooks of Python.
BARE_FORK_DURING_A_CALL = FORK_DURING_A_CALL.replace(
    """child = os.fork()
if child == 0:
    os._exit(0 if of_listener.acquire(timeout=0.1) else 1)
""",
    """import ctypes
from flagstaff._engine import lifecycle
child = ctypes.PyDLL(None).fork()
if child == 0:
    lifecycle.after_fork()
    os._exit(0 if change_watch._lock.acquire(timeout=0.5) else 1)
""",
)


def test_fork_without_hooks_during_a_call_leaves_no_lock_to_the_child(database: str) -> None:
    assert run_python(database, "-c", BARE_FORK_DURING_A_CALL).stdout == "0\n"
