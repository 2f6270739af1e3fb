"""The search through all files below some paths, in this process or in two."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from os import PathLike
from typing import IO, cast

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.model import Reference
from flagstaff.cleanup.references.worker import Progress, SearchWorker, Share

# A second process takes half a second to start.
_FILES_FOR_TWO = 2_000


def search(
    paths: Iterable[str | PathLike[str]], keys: Collection[str] | None = None
) -> Iterable[Reference]:
    """Returns the places that name one of `keys`, by default any key, by file and line.

    A path is a file or a folder. Places whose key is built at run time are always among them.
    Reads files only, at once; makes no query. Raises FileNotFoundError for a path that does not
    exist.
    """
    found = search_files(searched_files(paths)).references
    if keys is None:
        return with_candidates(found, {one.key for one in found if one.key is not None})
    wanted = frozenset(keys)
    return with_candidates([one for one in found if one.key is None or one.key in wanted], wanted)


def search_files(
    files: Sequence[str],
    progress: Progress = lambda _count: None,
    processes: int | None = None,
    patched: Collection[str] = (),
    others: tuple[str, ...] = (),
) -> Share:
    """Returns what is in these files. Calls `progress` with twice the number of files in all.

    Keeps what a patch of the flags with the keys in `patched` needs. Also finds the names of
    `others`, which are libraries such as "waffle".
    """
    if processes is None:
        processes = 2 if len(files) >= _FILES_FOR_TWO else 1
    with without_garbage_collection():
        search = search_in_two if processes > 1 else _search_in_one
        found = search(files, progress, patched, others)
    found.references = sorted(
        dict.fromkeys(found.references), key=lambda one: (one.path, one.line, one.column)
    )
    return found


def with_candidates(references: Iterable[Reference], keys: Collection[str]) -> list[Reference]:
    """Returns the references; those with a pattern have the keys that it may be.

    A pattern without constant parts may be any key, and has no candidates.
    """
    return [
        replace(reference, candidates=_matching(reference.pattern, keys))
        if reference.pattern.strip("*")
        else reference
        for reference in references
    ]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pauses the collector, which would look at each of the many nodes again and again.

    Hides the warnings of Python about odd strings in the code that is read.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if was_enabled:
            gc.enable()


def _search_in_one(
    files: Sequence[str], progress: Progress, patched: Collection[str], others: tuple[str, ...]
) -> Share:
    worker = SearchWorker(files, files, patched, others)
    found = worker.first(progress)
    more = worker.second(found, progress)
    wrappers = found.added_by(more)
    found.add(more)
    found.add(worker.third(wrappers))
    found.evaluated = worker.evaluated
    return found


def _matching(pattern: str, keys: Collection[str]) -> tuple[str, ...]:
    # Only "*" is special in a pattern.
    plain = pattern.replace("[", "[[]").replace("?", "[?]")
    return tuple(sorted(key for key in keys if fnmatchcase(key, plain)))


def search_in_two(
    files: Sequence[str], progress: Progress, patched: Collection[str], others: tuple[str, ...]
) -> Share:
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
            return _search(files, progress, patched, others, child)
        except BaseException:
            # The end of the block waits for the child.
            child.kill()
            raise


def _search(
    files: Sequence[str],
    progress: Progress,
    patched: Collection[str],
    others: tuple[str, ...],
    child: subprocess.Popen[bytes],
) -> Share:
    tasks, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    _send((files, files[1::2], (), others), tasks)
    worker = SearchWorker(files, files[::2], patched, others)

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
