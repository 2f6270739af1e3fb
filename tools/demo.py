"""The demo: a PostgreSQL, the example shop with data, and its workers, until Ctrl-C.

`python -m tools.demo` runs it, `python -m tools.demo forget` deletes its data.
"""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools.front_end import build
from tools.lifeline import ends_with_parent
from tools.limits import CHILD, seconds
from tools.ports import LOOPBACK, is_free
from tools.postgres import Postgres
from tools.postgres_home import forget, home_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "django_example"
DATA = ROOT / ".demo"

# As manage.py does for one command.
_IN_TURN = """
import os, shlex, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
for line in sys.argv[1:]:
    execute_from_command_line(["manage.py", "flags", *shlex.split(line)])
"""

READY = """
  The shop    {address}/
  The crowd   {address}/crowd/
  The admin   http://localhost:{port}/admin/   log in as admin or release, password flagstaff
  Front end   {address}/front-end/   {front_end}

  In two minutes:
  1. Open the crowd and the admin side by side. The crowd shows which users have a flag, per worker.
  2. In the admin, open the flag new_checkout, press 50 %, and confirm. Half of the users get it.
  3. Press "Kill…", and confirm. All users get the old checkout again, from every worker.
  4. Press "Undo" in the message, and confirm. Half of the users have it again.

  Then:
  - Change the value payment_gateway to "paypal" and check out. No deploy is needed.
  - See in the overview what waits: beta_reviews is turned on in a week.
  - Start the experiment checkout_button in the admin: then the cart of Alice says "Buy now".
  - Open new_checkout, press "Plan a rollout…", and start the plan. Its page shows the guards.
  - To see a plan stop a fault: make demo SCENE=rollout
  - To see an experiment with a result: make demo SCENE=experiment
  - Turn all flags on with SQL:
    psql {url} -c "UPDATE flagstaff_featureflag SET enabled = true"

  Ctrl-C stops the demo. Its data remain until `make clean`.
"""


def main() -> int:
    """Runs the demo until it is interrupted."""
    if sys.argv[1:] == ["forget"]:
        forget(DATA)
        return 0
    port = chosen_port("demo")
    stop_on_signals()
    front_end = built_front_end()
    with database() as url:
        environment = os.environ | {"DATABASE_URL": url, "PORT": str(port)}
        for command in ("migrate", "seed"):
            manage(command, environment)
        with workers(environment) as master, jobs(environment, every=5):
            wait_for_answer(port, master)
            # A given address may contain a password.
            shown = "$DATABASE_URL" if os.environ.get("DATABASE_URL") else url
            address = f"http://{LOOPBACK}:{port}"
            print(
                READY.format(address=address, port=port, front_end=front_end, url=shown), flush=True
            )
            master.wait()
    print("the workers have stopped unexpectedly", file=sys.stderr)
    return 1


def chosen_port(target: str) -> int:
    """Returns the port in PORT, or the first free one from 8000. Exits if PORT cannot be used."""
    text = os.environ.get("PORT")
    if not text:
        return next(port for port in range(8000, 9000) if is_free(port))
    if not text.isdecimal():
        sys.exit(f"PORT={text} is not a number")
    port = int(text)
    if not is_free(port):
        sys.exit(f"port {port} is taken, choose another: PORT={port + 1} make {target}")
    return port


def built_front_end() -> str:
    """Builds the script of the page, and returns what to try there, or what is missing."""
    try:
        build()
    except LookupError as error:
        return f"has no script: {str(error).splitlines()[0]}"
    return "follows a change of new_checkout within two seconds"


def stop_on_signals() -> None:
    """Lets Ctrl-C and other ends of the terminal exit in order."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)


def stop(_signum: int, _frame: FrameType | None) -> None:
    """Ends the demo once, and ignores further signals during the clean-up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(0)


@contextmanager
def database() -> Iterator[str]:
    """Yields DATABASE_URL if it is set, or the address of a new server."""
    address = os.environ.get("DATABASE_URL")
    if address:
        yield address
        return
    with Postgres(home_of(DATA)) as server:
        yield server.url


def manage(command: str, environment: dict[str, str]) -> None:
    """Runs a management command of the example."""
    with child([sys.executable, "manage.py", command, "--verbosity", "0"], environment) as process:
        if process.wait() != 0:
            sys.exit(f"`manage.py {command}` failed")


@contextmanager
def new_shop(port: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the URL of a new database with the data of the shop, and its environment."""
    with Postgres() as server:
        environment = os.environ | {"DATABASE_URL": server.url, "PORT": str(port)}
        for command in ("migrate", "seed"):
            manage(command, environment)
        yield server.url, environment


def flags(arguments: str, environment: dict[str, str]) -> str:
    """Runs `manage.py flags`, prints the command, and returns its output."""
    return run(f"flags {arguments}", environment)


def flags_in_turn(lines: Sequence[str], environment: dict[str, str]) -> None:
    """Runs several `manage.py flags` in one process, which takes a second less for each."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_TURN, *lines],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"one of these `manage.py flags` failed: {', '.join(lines)}: {done.stderr}")
    for line in lines:
        say(f"$ manage.py flags {line}")


def run(arguments: str, environment: dict[str, str]) -> str:
    """Runs `manage.py`, prints the command, and returns its output. Exits if it fails."""
    command = [sys.executable, "manage.py", *shlex.split(arguments)]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"`manage.py {arguments}` failed: {done.stderr}")
    say(f"$ manage.py {arguments}")
    return done.stdout


def say(text: str) -> None:
    """Prints a line with the time."""
    print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)


@contextmanager
def workers(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Serves the example while the block runs."""
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
    with child(gunicorn, environment) as master:
        yield master


@contextmanager
def jobs(environment: dict[str, str], *, every: int) -> Iterator[None]:
    """Drives the rollout plans of the example while the block runs, every so many seconds."""
    command = [sys.executable, "manage.py", "flags", "run-jobs", "--loop", str(every)]
    with child(command, environment, quiet=True):
        yield


@contextmanager
def child(
    command: list[str], environment: dict[str, str], *, quiet: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command of the example, and stops it at the end of the block."""
    process = subprocess.Popen(
        command,
        cwd=EXAMPLE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        # Ctrl-C only reaches this process, which stops its children in order.
        start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 (only calls prctl)
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(seconds(CHILD))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_answer(port: int, master: subprocess.Popen[bytes]) -> None:
    """Returns when the shop serves its first page."""
    deadline = time.monotonic() + seconds(CHILD)
    while master.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=seconds(CHILD))
        try:
            connection.request("GET", "/")
            if connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    sys.exit("the shop does not respond")


if __name__ == "__main__":
    sys.exit(main())
