"""The search in two processes: this one, and a child that reads tasks from a pipe."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Collection, Sequence
from typing import IO, cast

from flagstaff.cleanup.references.worker import Progress, Share, Worker

__all__ = ["search_in_two"]


def search_in_two(files: Sequence[str], progress: Progress, patched: Collection[str]) -> Share:
    """Returns what is in the files. Each process reads every second one of them."""
    # A command of its own: a fork would inherit the threads and the connections of the project,
    # and a spawned process would run the project's main module again.
    child = subprocess.Popen(
        [sys.executable, "-m", "flagstaff.cleanup.references.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with child:
        try:
            return _search(files, progress, patched, child)
        except BaseException:
            # The end of the block waits for the child.
            child.kill()
            raise


def _search(
    files: Sequence[str],
    progress: Progress,
    patched: Collection[str],
    child: subprocess.Popen[bytes],
) -> Share:
    tasks, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    _send((files, files[1::2]), tasks)
    worker = Worker(files, files[::2], patched)

    def twice(count: int) -> None:
        progress(2 * count)

    found = worker.first(twice)
    found.add(_receive(answers))
    _send(found, tasks)
    more = worker.second(found, twice)
    more.add(_receive(answers))
    wrappers = found.added_by(more)
    found.add(more)
    _send(wrappers, tasks)
    last = worker.third(wrappers)
    last.add(_receive(answers))
    found.add(last)
    found.evaluated = worker.evaluated
    return found


def _send(task: object, pipe: IO[bytes]) -> None:
    pickle.dump(task, pipe)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Share:
    found: Share = pickle.load(pipe)  # noqa: S301 (from our own child)
    return found
