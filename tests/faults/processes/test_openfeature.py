"""Events of OpenFeature in servers that fork: each worker emits each event once, in order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.faults.app_servers import CELERY, GUNICORN, TIMEOUT, UWSGI, WORKERS, served
from tests.faults.celery_pool import Tasks
from tests.support.fixtures import SetGateway
from tests.support.proxy import Proxy
from tests.support.sessions import within

pytestmark = pytest.mark.timeout(120)

# The events of one process, by process id.
Found: TypeAlias = dict[int, dict[str, Any]]
READY, STALE = ["PROVIDER_READY", None], ["PROVIDER_STALE", None]
CHANGED = ["PROVIDER_CONFIGURATION_CHANGED", ["gateway"]]
SYNC = [*("gunicorn", "--config=tests/faults/served/gunicorn_conf.py"), *GUNICORN]
GEVENT = [*SYNC, "--worker-class=gevent"]
SERVERS = {
    "gunicorn": (SYNC, {"OPENFEATURE": "in worker"}),
    "gunicorn with threads": (
        [*SYNC, "--worker-class=gthread", "--threads=8"],
        {"OPENFEATURE": "in worker"},
    ),
    "gunicorn, preloaded": ([*SYNC, "--preload"], {"OPENFEATURE": "before fork"}),
    "gunicorn with gevent": (GEVENT, {"OPENFEATURE": "in worker"}),
    "gunicorn with gevent, preloaded": (
        [*GEVENT, "--preload"],
        {"OPENFEATURE": "before fork", "PATCH_FIRST": "1"},
    ),
}


def all_have_emitted(
    read: Callable[[], Found], *expected: list[Any], is_handled: bool = True
) -> None:
    """Waits until each process has emitted exactly these events, and handled all of them."""
    processes: Found = {}

    def have_emitted() -> bool:
        processes.update(read())
        return all(process["emitted"] == [*expected] for process in processes.values())

    assert within(TIMEOUT, have_emitted), processes
    if not is_handled:
        return
    # The SDK also reports the end of the initialization, to handlers only.
    handled = sorted(map(str, [READY, *expected]))
    all_are_handled = lambda: all(  # noqa: E731
        sorted(map(str, process["handled"])) == handled for process in read().values()
    )
    assert within(TIMEOUT, all_are_handled), read()


def check_events(read: Callable[[], Found], proxy: Proxy, set_gateway: SetGateway) -> None:
    """Changes a value, then cuts the database off, changes the value again, and reconnects."""
    all_have_emitted(read)
    set_gateway("paypal")
    all_have_emitted(read, CHANGED)
    proxy.stop()
    proxy.cut()
    all_have_emitted(read, CHANGED, STALE)
    assert {process["status"] for process in read().values()} == {"STALE"}
    set_gateway("adyen")
    proxy.resume()
    all_have_emitted(read, CHANGED, STALE, READY, CHANGED)
    assert {process["status"] for process in read().values()} == {"READY"}


@pytest.mark.parametrize(("command", "variables"), SERVERS.values(), ids=SERVERS)
def test_workers_of_gunicorn_emit_each_event_once_and_in_order(
    command: list[str], variables: dict[str, str], proxy: Proxy, set_gateway: SetGateway
) -> None:
    with served(command, proxy.url, **variables) as server:
        server.wait()
        # The first evaluation starts the engine of a worker.
        workers = server.get_from_each(WORKERS)

        def read() -> Found:
            processes = server.get_from_each(WORKERS, "/events")
            assert set(processes) == set(workers)
            return processes

        check_events(read, proxy, set_gateway)
        proxy.resume()


def test_workers_of_uwsgi_emit_events_after_a_fork_without_hooks_of_python(
    database: str, set_gateway: SetGateway
) -> None:
    with served(["uwsgi", *UWSGI], database, OPENFEATURE="before fork") as server:
        server.wait()
        workers = server.get_from_each(WORKERS)
        assert server.pid not in workers
        set_gateway("paypal")
        read: Callable[[], Found] = lambda: server.get_from_each(WORKERS, "/events")  # noqa: E731
        all_have_emitted(read, CHANGED, is_handled=False)
        # While it holds the GIL, uWSGI would fork workers that never get it.
        assert not any(process["parent_has_thread"] for process in read().values())


def test_children_of_celery_emit_each_event_once_and_in_order(
    proxy: Proxy, set_gateway: SetGateway, tmp_path: Path
) -> None:
    tasks = Tasks(tmp_path)
    with served(CELERY, proxy.url, CELERY_FOLDER=str(tmp_path), OPENFEATURE="before fork"):

        def each(name: str) -> Found:
            processes: Found = {}

            def all_have_run() -> bool:
                processes.update(
                    {process["pid"]: process for process in tasks.run(name, times=2 * WORKERS)}
                )
                return len(processes) == WORKERS

            assert within(TIMEOUT, all_have_run)
            return processes

        each("read")
        check_events(lambda: each("events"), proxy, set_gateway)


def test_worker_that_was_forked_before_the_first_load_becomes_ready(proxy: Proxy) -> None:
    proxy.stop()
    # The parent waits for its first load while it forks.
    with served([*SYNC, "--preload"], proxy.url, OPENFEATURE="without waiting") as server:
        server.wait_for_log("Booting worker", times=WORKERS)
        processes = server.get_from_each(WORKERS, "/events")
        assert {process["status"] for process in processes.values()} == {"NOT_READY"}
        proxy.resume()

        def are_ready() -> bool:
            processes.update(server.get_from_each(WORKERS, "/events"))
            return {process["status"] for process in processes.values()} == {"READY"}

        assert within(TIMEOUT, are_ready), processes
        assert [process["emitted"] for process in processes.values()] == [[READY]] * WORKERS
