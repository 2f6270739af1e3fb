"""Processes that run the jobs in a loop."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.python_processes import environment

#: `run-jobs` with the FLAGSTAFF settings of the environment.
RUN_JOBS = ("-m", "tests.support.manage_with", "flags", "run-jobs")


@contextmanager
def running_loop(
    url: str, flagstaff: str = "{}", interval: str = "0.01", stderr: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the jobs in a loop with these settings, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, *RUN_JOBS, "--loop", interval],
        env=environment(url, FLAGSTAFF=flagstaff),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
