"""A process at its limits, such as those of a container: no thread, no descriptor."""

import resource
import threading
import time
from pathlib import Path

from tests.support.workers import Worker, calling
from tools.limits import seconds

REASON = (
    "the process cannot start a thread or open a descriptor, see ulimit -u, ulimit -n, "
    "and the pids limit of its container"
)
NOT_LOADED = "flags are not loaded yet, so evaluations return their default"
GATEWAY = ["get_value", "gateway", "none"]
# Bytes of the stack of a Rust thread.
STACK = 2 << 20
# More than an evaluation needs, and less than a stack.
SPARE = 1_900 << 10


# These functions run in the worker.


def forbid_threads() -> None:
    """Lets no further thread start, because there is no memory for its stack."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + SPARE)


def allow_threads() -> None:
    """Lets threads start again."""
    _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def forbid_threads_in_child() -> None:
    """Lets no further thread start, also not with the stacks that the parent's threads had."""
    forbid_threads()
    threading.stack_size(STACK)
    forever = threading.Event()
    try:
        while True:
            threading.Thread(target=forever.wait, daemon=True).start()
    except RuntimeError:
        return


def _limit(kind: int, soft: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))


def test_process_without_threads_returns_defaults_and_starts_its_engine_later(
    database: str,
) -> None:
    with Worker(database, STARTUP_TIMEOUT=10) as worker:
        worker.call(forbid_threads)
        started = time.monotonic()
        assert worker.ask(*GATEWAY) == "none"
        assert worker.ask("flag_enabled", "new_checkout", 2, True) is True
        assert worker.ask("ready") is False
        assert time.monotonic() - started < seconds(5)
        status = worker.ask("status")
        assert (status["mode"], status["ready"]) == ("down", False)
        assert status["mode_reason"] == status["last_error"] == f"start: {REASON}"
        worker.sees(["has_logged", 1], True, within=5)
        [[level, message]] = worker.ask("logged")
        assert (level, message) == ("WARNING", f"{NOT_LOADED}: start: {REASON}")
        worker.call(allow_threads)
        worker.sees(GATEWAY, "stripe", within=5)
        worker.sees(["mode"], "live", within=5)


def test_forked_child_without_threads_uses_the_inherited_snapshot(worker: Worker) -> None:
    commands = [GATEWAY, ["flag_enabled", "new_checkout", 2, True], ["mode"]]
    forbid = calling(forbid_threads_in_child)
    _none, *answers = worker.ask("in_fork", "os._exit", [forbid, *commands])
    assert answers == ["stripe", False, "down"]
