"""The engine of this process: what starts, restarts and stops it, and the hooks of the extension.

The extension owns the state of the process. It imports this module at the first call, so that
`import flagstaff` imports neither Django nor the settings, and calls the functions in `HOOKS`:
`read_options` once, `run_maintenance` from time to time, the others as they are needed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Literal, cast

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from django.db import connections

from flagstaff import _core, _log, listeners
from flagstaff._connection import connection_parameters
from flagstaff._core import check_parameters, monotonic
from flagstaff._declared import object_of
from flagstaff._engine import direct, users
from flagstaff._engine.status_log import StatusLog, StatusReport
from flagstaff._log import logger
from flagstaff._request import context
from flagstaff._request import user as request_user
from flagstaff._tables.database import engine_names
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ConfigurationError,
    FlagstaffError,
    UnknownExperimentError,
    UnknownFlagError,
    UnknownValueError,
)


@dataclass(frozen=True)
class EngineOptions:
    """How the engine connects and refreshes. Times are in seconds."""

    #: Connection parameters by their libpq name.
    parameters: dict[str, str]
    #: Quoted names of tables and columns.
    names: dict[str, str]
    listen: bool
    poll_interval: float
    pool_size: int
    pool_idle: float
    max_staleness: float
    usage_interval: float
    measure_interval: float
    new_visitors_per_hour: int
    host: str
    #: The build of the project, empty without one.
    release: str
    #: How the primary is reached, if its alias is another one; used behind replication.
    report_parameters: dict[str, str] | None = None
    region: str = ""


@dataclass(frozen=True)
class StartOptions:
    """Everything that the extension needs to start, read once per process."""

    startup_timeout: float
    report_unknown: bool
    #: None if the process evaluates directly.
    engine: EngineOptions | None


def engine_options() -> EngineOptions:
    """Returns the options of the engine. Raises ConfigurationError if settings are not valid."""
    connection = connections[conf.engine_database]
    return EngineOptions(
        parameters=connection_parameters(connection),
        names=engine_names(connection),
        listen=conf.listen,
        poll_interval=conf.poll_interval,
        pool_size=conf.pool_size,
        pool_idle=conf.pool_idle,
        max_staleness=conf.max_staleness,
        usage_interval=conf.usage_interval,
        measure_interval=conf.measure_interval,
        new_visitors_per_hour=conf.new_visitors_per_hour,
        host=socket.gethostname(),
        release=conf.release,
        report_parameters=report_parameters(),
        region=conf.region,
    )


def report_parameters() -> dict[str, str] | None:
    """Returns how workers behind replication reach the primary; None if the alias is the engine's.

    Without REPORT_DATABASE also None if the engine cannot use the parameters of the router's alias.
    Raises ConfigurationError if it cannot use those of REPORT_DATABASE.
    """
    alias = conf.report_database
    if alias == conf.engine_database:
        return None
    try:
        parameters = connection_parameters(connections[alias])
        check_parameters(parameters)
    except ConfigurationError:
        if conf.names_report_database:
            raise
        return None
    return parameters


# Hooks for the start of a forked child and for the end of a process.

_registered_in: int | None = None
#: Called at the end of `after_fork`, for modules that few projects import.
fork_hooks: list[Callable[[], None]] = []


def _call_after_fork(hook: Callable[[], None]) -> None:
    """Calls `hook` once in each process that is forked from this one, also by uWSGI."""
    called_in = os.getpid()

    def call_once() -> None:
        nonlocal called_in
        # uWSGI may call both hooks, and the child may start its engine between the two.
        if called_in != os.getpid():
            called_in = os.getpid()
            hook()

    os.register_at_fork(after_in_child=call_once)
    # Only uWSGI processes have this module.
    if uwsgi := sys.modules.get("uwsgi"):
        _set_uwsgi_hook(uwsgi, call_once)


def _set_uwsgi_hook(uwsgi: Any, hook: Callable[[], None]) -> None:
    try:
        # uWSGI has one hook. Its decorators share it between all callers, and would replace ours
        # if they were imported later.
        import_module("uwsgidecorators").postfork(hook)
    except Exception:  # noqa: BLE001 (raised if it is not installed, or without a master)
        earlier = getattr(uwsgi, "post_fork_hook", None)

        def run_hooks() -> None:
            if earlier is not None:
                earlier()
            hook()

        uwsgi.post_fork_hook = run_hooks


def _call_at_exit(hook: Callable[[], None]) -> None:
    """Calls `hook` when the interpreter ends, in this process or in a forked child."""
    atexit.register(hook)


def _call_at_exit_of_child(hook: Callable[[], None]) -> None:
    """Calls `hook` at the end of this process if it is a child of multiprocessing or of Celery.

    These children end by `os._exit`, which skips `atexit`. The hook may be called twice.
    """
    global _registered_in  # noqa: PLW0603 (each child has to register again)
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    processes = sys.modules.get("multiprocessing.process")
    if processes and processes.parent_process() and "multiprocessing.util" in sys.modules:
        # Registered in the child, because a child drops the finalizers of its parent.
        sys.modules["multiprocessing.util"].Finalize(None, hook, exitpriority=0)
    if signals := sys.modules.get("celery.signals"):
        # Celery sends this signal only in the children of its pool.
        signals.worker_process_shutdown.connect(
            lambda **_: hook(), weak=False, dispatch_uid="flagstaff"
        )


# All in seconds. The sleep is short enough to go unnoticed, and gevent can see it.
_SLEEP = 0.002
_SHUTDOWN_TIMEOUT = 1.0
# Limits reconnects if the source of passwords returns a different one each time.
_RECONFIGURE_INTERVAL = 2.0
# Code may build keys from user input, so their number has no limit of its own.
_MAX_UNKNOWN_LOGGED = 1000
_UNKNOWN: Mapping[str, type[FlagstaffError]] = {
    "flag": UnknownFlagError,
    "value": UnknownValueError,
    "experiment": UnknownExperimentError,
}


class _Process:
    """What this process has read and logged. A forked child starts with a new one."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        #: The settings that the engine has read; None without an engine.
        self.fixed_settings: dict[str, object] | None = None
        self.status_log = StatusLog()
        self.reconfigure_after = 0.0
        self.unknown_logged: set[tuple[str, str]] = set()


_process = _Process()
_thread = threading.local()


def read_options(in_memory: bool) -> StartOptions | None:  # noqa: FBT001 (called by the extension)
    """Reads the settings, for the extension, which starts the engine with them.

    Under a test runner and on SQLite the process evaluates directly,
    unless `in_memory` is set. Returns None if the code that reads the settings, such as a router,
    evaluates a flag itself. Raises ConfigurationError if the settings are not valid.
    """
    if getattr(_thread, "is_reading", False):
        return None
    if _process.pid != os.getpid():
        # A fork outside Python calls no hook, and nothing would notice it after the start.
        after_fork()
    _thread.is_reading = True
    try:
        is_direct = direct.is_required() and not in_memory
        # Rules read it when they need it, but a wrong setting is an error from the start.
        users.read_settings()
        _process.fixed_settings = None if is_direct else conf.fixed()
        return StartOptions(
            startup_timeout=conf.startup_timeout,
            report_unknown=conf.unknown_key != "ignore",
            engine=None if is_direct else engine_options(),
        )
    finally:
        _thread.is_reading = False
        _call_at_exit_of_child(_shut_down)
        # Here, because each process with an engine needs it, and Celery is imported by now.
        if signals := sys.modules.get("celery.signals"):
            signals.task_prerun.connect(wait_for_poll, weak=False, dispatch_uid="flagstaff_poll")


def wait_for_poll(**_: object) -> None:
    """Waits for a poll that is overdue, as after the process was suspended, for at most 0.3 s."""
    while _core.awaits_poll():
        time.sleep(_SLEEP)


async def await_poll() -> None:
    """Waits as `wait_for_poll` does, without blocking the event loop."""
    # The poll runs outside Python, so nothing can set an event.
    while _core.awaits_poll():  # noqa: ASYNC110
        await asyncio.sleep(_SLEEP)


def close(timeout: float = _SHUTDOWN_TIMEOUT) -> bool:
    """Stops the engine, writes what it has counted and closes its connections.

    For servers that end their workers by a signal, such as uvicorn; others do it by themselves. The
    next evaluation starts the engine again. Blocks for at most `timeout` seconds, and returns True
    if everything has stopped.
    """
    _process.fixed_settings = None
    # What follows is a start, not a recovery.
    _process.status_log = StatusLog()
    return _core.stop(timeout)


async def aclose(timeout: float = _SHUTDOWN_TIMEOUT) -> bool:
    """Stops the engine as `close` does, without blocking the event loop."""
    return await sync_to_async(close, thread_sensitive=False)(timeout)


def ready(timeout: float | None = None) -> bool:
    """Waits for the first load, and returns True if there is a snapshot.

    Blocks for at most `timeout` seconds, by default STARTUP_TIMEOUT; use `aready` in an event
    loop. Without this call, the first evaluation waits.
    """
    if _core.start(wait=False):
        wait_for_first_load(conf.startup_timeout if timeout is None else timeout)
    return bool(_core.status_report()["ready"])


async def aready(timeout: float | None = None) -> bool:
    """Waits as `ready` does, without blocking the event loop."""
    # Reading settings may block, so it runs in a thread. The wait does not: threads are few, and a
    # loop does not end before its threads do.
    if await sync_to_async(_core.start, thread_sensitive=False)(wait=False):
        limit = conf.startup_timeout if timeout is None else timeout
        deadline = monotonic() + limit
        # The load runs outside Python, so nothing can set an event.
        while _core.is_waiting() and monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_SLEEP)
    return bool(_core.status_report()["ready"])


def wait_for_first_load(seconds: float) -> None:
    """Waits for the first load, for at most so many seconds. Called by the extension, too."""
    deadline = monotonic() + seconds
    while _core.is_waiting() and monotonic() < deadline:
        time.sleep(_SLEEP)


def refresh(timeout: float = 5.0) -> None:
    """Loads now: later evaluations of this process see everything committed before the call.

    For scripts, and for tests with several processes; a web worker does not need it. Blocks for at
    most `timeout` seconds; Ctrl-C ends the wait. Raises RefreshError if the load fails; the last
    snapshot stays in use.
    """
    if _core.start():
        _reconfigure()
    _core.refresh(timeout)


def report_unknown_key(key: str, kind: Literal["flag", "value", "experiment"]) -> None:
    """Raises, or logs once, that an unknown key was evaluated; UNKNOWN_KEY decides which.

    Raises UnknownFlagError, UnknownValueError or UnknownExperimentError.
    """
    message = (
        f"there is no {kind} {key!r}; check the spelling, create it in the admin, "
        'or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'
    )
    if conf.unknown_key == "raise":
        raise _UNKNOWN[kind](message)
    logged = _process.unknown_logged
    if (
        conf.unknown_key == "warn"
        and len(logged) < _MAX_UNKNOWN_LOGGED
        and (kind, key) not in logged
    ):
        logged.add((kind, key))
        logger.warning(message)
        if len(logged) == _MAX_UNKNOWN_LOGGED:
            logger.warning("%d unknown keys were logged; no more will be", _MAX_UNKNOWN_LOGGED)


def run_maintenance() -> None:
    """Logs changes of state, and reads new connection parameters if the login was refused.

    Evaluations call this from time to time and after each event, because the engine itself never
    calls Python. Raises nothing.
    """
    process = _process
    if _core.is_refused() and monotonic() >= process.reconfigure_after:
        process.reconfigure_after = monotonic() + _RECONFIGURE_INTERVAL
        _reconfigure()
    process.status_log.note(_report())


def log_late_start() -> None:
    """Logs that evaluations return their default because the first load takes too long."""
    _process.status_log.note_late_start(_report())


def _reconfigure() -> None:
    """Reads the connection parameters again: a file or a service may have a new password."""
    problem = None
    try:
        parameters = connection_parameters(connections[conf.engine_database])
        _core.reconfigure(parameters, report_parameters())
    except ConfigurationError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 (the project's own code; the text may hold a secret)
        problem = type(error).__name__
    _process.status_log.note_parameters_error(problem)


def _report() -> StatusReport:
    return cast("StatusReport", _core.status_report())


def _shut_down() -> None:
    _core.shutdown(_SHUTDOWN_TIMEOUT)


def after_fork() -> None:
    """Resets a forked child, which keeps the inherited snapshot until its own first load."""
    global _process  # noqa: PLW0603 (a child has logged nothing yet)
    _process = _Process()
    _core.after_fork()
    direct.reset_own_writes()
    _log.after_fork()
    for hook in fork_hooks:
        hook()


def _after_setting(*, setting: str, **kwargs: object) -> None:
    """Reads again what tests may change. Raises ConfigurationError for the rest."""
    if setting != "FLAGSTAFF":
        return
    # A setting that is not valid raises where it is used.
    with suppress(ConfigurationError):
        _core.set_report_unknown(conf.unknown_key != "ignore")
    _require_fixed_settings()


def _require_fixed_settings() -> None:
    started = _process.fixed_settings
    if started is None:
        return
    for name, value in conf.fixed().items():
        if value != started[name]:
            raise ConfigurationError(
                'FLAGSTAFF["{name}"] cannot change while the engine runs, which reads it at its '
                "start; set it before live_engine()",
                name=name,
            )


#: The functions that the extension calls; `src/python/hooks.rs` has their types. A `call` and a
#: `snapshot` among their arguments are the context of the call and that of its snapshot.
HOOKS = SimpleNamespace(
    # The life of the process.
    read_options=read_options,
    wait_for_first_load=wait_for_first_load,
    log_late_start=log_late_start,
    after_fork=after_fork,
    run_maintenance=run_maintenance,
    # Results.
    report_unknown_key=report_unknown_key,
    notify=listeners.notify,
    reads_own_writes=direct.reads_own_writes,
    # Direct mode. They raise NotReadyError if the database cannot be queried.
    kept_snapshots=direct.kept_snapshots,
    read_all=direct.read_all,
    read_groups=direct.read_groups,
    # The request.
    request_context=context.RequestContext,
    visitor_of=context.visitor_of,
    visitor_has_returned=context.visitor_has_returned,
    is_crawler=context.is_crawler,
    origin_of=context.origin_of,
    # The attributes that rules read.
    classify=users.classify,
    read_attribute_settings=users.read_settings,
    computed_attributes=context.computed_attributes,
    is_deferred=users.is_deferred,
    plain_value=users.plain_value,
    microseconds=users.microseconds,
    utc_of=users.utc_of,
    declared_object=object_of,
    note_evaluation=context.note_evaluation,
    # What keeps them, or the user, from being read.
    load_lazy_user=request_user.load_lazy_user,
    is_database_error=request_user.is_database_error,
    report_database_error=request_user.report_database_error,
    report_needed_user=users.report_needed_user,
    report_missing_user=users.report_missing_user,
    check_text_key=users.check_text_key,
    report_reserved_name=users.report_reserved_name,
    report_no_unit=users.report_no_unit,
    report_unreadable=users.report_unreadable,
    report_unreadable_context=users.report_unreadable_context,
)
_core.install(HOOKS)
setting_changed.connect(_after_setting)
os.register_at_fork(before=_core.fork_begins, after_in_parent=_core.fork_ends)
_call_after_fork(after_fork)
_call_at_exit(_shut_down)
