"""A pytest plugin that starts a PostgreSQL server for each process of a parallel test run.

Roles and sessions, which are global to a server, then belong to one process. It is a plugin because
the settings read the address before any conftest is loaded. The servers are copies of one cluster
with all tables, which is created while the first process loads what it needs itself.
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

from tests.support.migrated_database import VARIABLE, migrated_cluster_of_run
from tests.support.python_processes import ROOT
from tools.lifeline import ends_with_parent
from tools.postgres import Postgres
from tools.postgres_account import open_directory, remove_directory

_stack = ExitStack()


def _start() -> None:
    if os.environ.get("DATABASE_URL"):
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        server = _stack.enter_context(Postgres(template=migrated_cluster_of_run()))
        os.environ["DATABASE_URL"] = server.url
        return
    directory = open_directory()
    _stack.callback(remove_directory, directory)
    os.environ[VARIABLE] = str(directory)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.migrated_database"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 (only calls prctl)
    )
    _stack.callback(process.wait)
    _stack.callback(process.terminate)


_start()


def pytest_unconfigure() -> None:
    """Stops the server, or deletes the clusters, after the last test."""
    _stack.close()
