"""The second process of a search: reads tasks from a pipe, and writes what it finds to another."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import warnings
from typing import IO

from flagstaff.cleanup.references.worker import SearchWorker, Share


def main() -> None:
    """Makes all passes for the process that has started this one."""
    # As in the other process: it would look at each of the many nodes again and again.
    gc.disable()
    warnings.simplefilter("ignore")
    # Only pickles may stand in the output.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = SearchWorker(*pickle.load(sys.stdin.buffer))  # noqa: S301 (from the parent process)
    _send(worker.first(_no_progress), output)
    _send(worker.second(pickle.load(sys.stdin.buffer), _no_progress), output)  # noqa: S301
    _send(worker.third(pickle.load(sys.stdin.buffer)), output)  # noqa: S301


def _send(found: Share, output: IO[bytes]) -> None:
    pickle.dump(found, output)
    output.flush()


def _no_progress(_count: int) -> None:
    pass


if __name__ == "__main__":
    main()
