"""The demo: a PostgreSQL, a shop with something in it, and its workers, until Ctrl-C.

`python -m tools.demo` runs it, `python -m tools.demo forget` throws its data away.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools.lifeline import ends_with_parent
from tools.ports import LOOPBACK, is_free
from tools.postgres import Postgres
from tools.postgres_home import forget, home_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "django_example"
KEPT = ROOT / ".demo"
PATIENCE = 30.0

READY = """
  The shop    {address}/
  The crowd   {address}/crowd/
  The admin   {address}/admin/   log in as admin, password flagstaff

  Try this:
  1. Put the crowd and the admin side by side: the crowd shows who has a flag, once per worker.
  2. In the admin, set the rollout of new_checkout to 50 and save: watch the dots light up.
  3. Switch it off from the list: everybody has the old checkout again, whichever worker answers.
  4. Change the value payment_gateway to "paypal" and check out: no deploy.
  5. Any other source works as well: psql {url}

  Ctrl-C stops it. The data stay until `make clean`.
"""


def main() -> int:
    """Run the demo until it is told to stop."""
    if sys.argv[1:] == ["forget"]:
        forget(KEPT)
        return 0
    asked = os.environ.get("PORT") or "8000"
    if not asked.isdecimal():
        print(f"PORT={asked} is not a number", file=sys.stderr)
        return 1
    port = int(asked)
    if not is_free(port):
        print(f"port {port} is taken, choose another: PORT={port + 1} make demo", file=sys.stderr)
        return 1
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    with database() as url:
        environment = os.environ | {"DATABASE_URL": url, "PORT": str(port)}
        for command in ("migrate", "seed"):
            manage(command, environment)
        with workers(environment) as master:
            wait_for_answer(port, master)
            # An address that we were given may hold a password.
            shown = "$DATABASE_URL" if os.environ.get("DATABASE_URL") else url
            print(READY.format(address=f"http://{LOOPBACK}:{port}", url=shown), flush=True)
            master.wait()
    print("the workers have ended by themselves", file=sys.stderr)
    return 1


def stop(_signum: int, _frame: FrameType | None) -> None:
    """End the demo as it is meant to end: once, whatever comes while it tidies up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(0)


@contextmanager
def database() -> Iterator[str]:
    """Give the address of the server that we were given, or of our own."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with Postgres(home_of(KEPT)) as server:
        yield server.url


def manage(command: str, environment: dict[str, str]) -> None:
    """Run a management command of the example."""
    with child([sys.executable, "manage.py", command, "--verbosity", "0"], environment) as process:
        if process.wait() != 0:
            sys.exit(f"`manage.py {command}` failed")


@contextmanager
def workers(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the example while the block runs."""
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
    with child(gunicorn, environment) as master:
        yield master


@contextmanager
def child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the example, and end it with the block at the latest."""
    process = subprocess.Popen(
        command,
        cwd=EXAMPLE,
        env=environment,
        stdin=subprocess.DEVNULL,
        # A Ctrl-C in the terminal is for us: we end the children in their order.
        start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it only calls prctl
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_answer(port: int, master: subprocess.Popen[bytes]) -> None:
    """Return when the shop answers its first question."""
    deadline = time.monotonic() + PATIENCE
    while master.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    sys.exit("the shop does not answer")


if __name__ == "__main__":
    sys.exit(main())
