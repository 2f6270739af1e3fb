"""The process that `tests.support.python_processes` forks: it has imported other packages.

It imports nothing of this project: each child does, as a new interpreter would, and ends as one.
Its standard input is a socket, on which each line is a child to start.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
import warnings
from typing import Any

# What most projects of the tests import: two thirds of the time until such a process works. Not
# django.test: its receiver that clears the registry after a change of AUTH_USER_MODEL must run
# after those of the models, so a project imports it after them.
MODULES = (
    *("asgiref.sync", "asyncio", "concurrent.futures", "difflib", "pprint"),
    *("psycopg", "psycopg.types.composite", "psycopg.types.multirange", "psycopg.types.range"),
    *("django.contrib.admin.filters", "django.contrib.admin.options", "django.contrib.messages"),
    *("django.core.checks", "django.core.management", "django.core.handlers.wsgi"),
    *("django.db.backends.postgresql.base", "django.db.models", "django.db.migrations.executor"),
    *("django.forms", "django.template.defaultfilters", "django.urls"),
)
_PR_SET_PDEATHSIG = 1
_MESSAGE = 1 << 20
#: The standard streams of a child, and where to write its process id and its exit status.
FILES = 4


def main() -> None:
    """Starts children until the other end of the socket is closed."""
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # The folder of this file, whose modules have the names of others.
    del sys.path[0]
    for name in MODULES:
        importlib.import_module(name)
    # The kernel reaps the processes that wait for the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        message, files, _, _ = socket.recv_fds(channel, _MESSAGE, FILES)
        if not message:
            return
        while not message.endswith(b"\n"):
            message += channel.recv(_MESSAGE)
        if os.fork() == 0:
            channel.close()
            _run_and_report(json.loads(message), files)
            return
        for file in files:
            os.close(file)


def _run_and_report(child: dict[str, Any], files: list[int]) -> None:
    """Runs the child in a process of its own, for whose end this one waits."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, report = files
    _end_with_parent()
    pid = os.fork()
    if pid:
        os.write(report, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    _end_with_parent()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for file in files:
        os.close(file)
    os.chdir(child["cwd"])
    os.environ.clear()
    os.environ.update(child["environment"])
    time.tzset()
    _run(child["arguments"])


def _run(arguments: list[str]) -> None:
    """Runs what Python would run with `-c code`, `-m module`, or a file, also after `-W error`."""
    if arguments[:2] == ["-W", "error"]:
        warnings.simplefilter("error")
        sys.warnoptions.append("error")
        arguments = arguments[2:]
    first, *rest = arguments
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    place = str(os.path.dirname(os.path.abspath(first)))  # noqa: PTH100, PTH120
    sys.path[:0] = [os.getcwd() if first in {"-c", "-m"} else place, *filter(None, own)]  # noqa: PTH109
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


if __name__ == "__main__":
    main()
